"""Learning rates over the steps of a stage, and the optimiser that follows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import ops


def _cosine(start, end, share):
    """From start to end along half a cosine, share 0..1."""
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * share))


@keras.saving.register_keras_serializable("fatk")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """fast.ai 1's one-cycle policy: up from peak / 25 over 30 % of the steps, down to peak / 250,000.

    `momentum` is its mirror image, from 0.95 down to 0.85 and back.
    """

    RISE = 0.3
    START = 1 / 25
    END = 1 / 25e4
    MOMENTA = (0.95, 0.85)

    def __init__(self, peak: float, steps: int):
        self.peak = peak
        self.steps = steps

    def _follow(self, step, start, top, end):
        turn = max(self.RISE * self.steps, 1.0)
        step = ops.cast(step, "float32")
        up = _cosine(start, top, ops.minimum(step / turn, 1.0))
        down = _cosine(top, end, ops.clip((step - turn) / max(self.steps - turn, 1.0), 0.0, 1.0))
        return ops.where(step < turn, up, down)

    def __call__(self, step):
        """() step from 0 -> () learning rate."""
        return self._follow(step, self.peak * self.START, self.peak, self.peak * self.END)

    def momentum(self, step):
        """() step from 0 -> () first-moment coefficient."""
        high, low = self.MOMENTA
        return self._follow(step, high, low, high)

    def get_config(self):
        """What `from_config` needs."""
        return {"peak": self.peak, "steps": self.steps}


@dataclass(frozen=True)
class Gradients:
    """Norms over all gradients of a batch together, of the batches of an epoch so far."""

    batches: float
    total: float
    largest: float
    unfit: float  # the first batch whose gradients were not finite, from 1; 0: none

    @property
    def mean(self) -> float:
        """0 before any batch."""
        return self.total / max(self.batches, 1.0)

    @property
    def unfit_batch(self) -> int | None:
        """The first batch, from 0, whose gradients were not finite."""
        return int(self.unfit) - 1 if self.unfit else None


@keras.saving.register_keras_serializable("fatk")
class CycledAdamW(keras.optimizers.AdamW):
    """AdamW whose first-moment coefficient follows the schedule's `momentum`, where it has one.

    `shares` gives weights, by path, a share of the learning rate, 1 where it is silent; decay, which is
    decoupled, goes with it. One optimiser for all groups, not Keras' one a group: the norm that gradients are
    clipped by is that of all of them, and there is one learning rate to log and one counter to resume.
    """

    beta_1: float

    def __init__(self, *args, shares: dict[str, float] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.shares = dict(shares or {})

    def build(self, variables):
        """Make the slots; find each variable's share."""
        super().build(variables)
        self._share_of = {self._var_key(v): self.shares.get(v.path, 1.0) for v in variables}
        # What `Gradients` reads: batches, sum and largest of norms, first batch that was not finite, from 1.
        self._watched = self.add_variable((4,), dtype="float32", name="gradients")

    def apply(self, grads, trainable_variables=None):
        """One batch's gradients; their norm, before any clipping, is kept."""
        grads = list(grads)
        super().apply(grads, trainable_variables)
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads if g is not None]
        if not squares:
            return
        norm = ops.sqrt(sum(squares))
        count, total, largest, unfit = ops.unstack(ops.convert_to_tensor(self._watched))
        noted = ops.logical_or(unfit > 0, ops.isfinite(norm))
        self._watched.assign(
            ops.stack(
                [count + 1, total + norm, ops.maximum(largest, norm), ops.where(noted, unfit, count + 1)]
            )
        )

    @property
    def gradients(self) -> "Gradients":
        """Of the batches since `begin_epoch`; waits for the device."""
        return Gradients(*(float(value) for value in ops.convert_to_numpy(self._watched)))

    def begin_epoch(self) -> None:
        """Count batches and gradients anew. A checkpoint within an epoch holds the counts."""
        self._watched.assign(ops.zeros((4,)))

    def rates(self, groups: Sequence[Sequence[str]]) -> tuple[float, ...]:
        """Paths in groups -> each group's present learning rate, 0 where none of it is trained."""
        now = float(ops.convert_to_numpy(self.learning_rate))
        trained = {v.path: self._share_of[self._var_key(v)] for v in self._trainable_variables}
        return tuple(now * max((trained.get(path, 0.0) for path in group), default=0.0) for group in groups)

    def update_step(self, gradient, variable, learning_rate):
        """One update, with the momentum of this step and the variable's own rate."""
        rate = ops.cast(learning_rate, variable.dtype) * self._share_of[self._var_key(variable)]
        if self.weight_decay and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * ops.cast(self.weight_decay, variable.dtype) * rate)
        schedule = self._learning_rate
        fixed = self.beta_1
        if hasattr(schedule, "momentum"):
            # Of batches, as the learning rate is, not of updates: accumulation makes fewer of these.
            self.beta_1 = schedule.momentum(self._iterations)
        try:
            super().update_step(gradient, variable, rate)
        finally:
            self.beta_1 = fixed  # a traced value must not outlive the step

    def _apply_weight_decay(self, variables):
        """Nothing: Keras decays all variables at one rate here, `update_step` each at its own."""

    def get_config(self):
        """What `from_config` needs."""
        return {**super().get_config(), "shares": self.shares}


def schedule(kind: str, rate: float, steps: int):
    """-> a schedule over `steps` steps, or the constant rate.

    "one_cycle": see `OneCycle`. "cosine": up from rate / 25 over a twentieth of the steps, in a line, then
    down to rate / 1000 along half a cosine. "constant".
    """
    if kind == "one_cycle":
        return OneCycle(rate, steps)
    if kind == "cosine":
        warm = max(1, steps // 20)
        # Floats: of an integer rate Keras makes an integer schedule, which is 0 all the way.
        return keras.optimizers.schedules.CosineDecay(
            float(rate) / 25, max(1, steps - warm), alpha=1e-3, warmup_target=float(rate), warmup_steps=warm
        )
    if kind == "constant":
        return float(rate)
    raise ValueError(f"`schedule` must be one of one_cycle, cosine, constant. Received: {kind!r}.")


def spread(low: float, high: float, number: int) -> tuple[float, ...]:
    """-> `number` rates from low to high, each the same multiple of the one before; of one alone, high."""
    if not 0 < low <= high:
        raise ValueError(f"the lowest rate must be above 0 and at most the highest, {high}. Received: {low}.")
    ratio = low / high
    return (*(high * ratio ** (1 - at / (number - 1)) for at in range(number - 1)), high)


def shares(groups: Sequence[Sequence[str]], low: float, high: float) -> dict[str, float]:
    """Groups of weights' paths, first layers first -> each path's share of the highest rate.

    The first group trains at the rate `low`, the last at `high`, those between at a geometric spread.
    """
    rates = spread(low, high, len(groups))
    return {path: rate / high for group, rate in zip(groups, rates, strict=True) for path in group}


def optimizer(
    kind: str,
    rate: float,
    steps: int,
    weight_decay: float,
    beta_2: float,
    shares: dict[str, float] | None = None,
    clip: float = 0.0,
    accumulate: int = 1,
) -> CycledAdamW:
    """-> AdamW on a schedule; decay is decoupled and spares biases and the scales and shifts of norms.

    `steps` are batches. `shares` of the rate by path: see `shares`. `clip`: the largest norm of all gradients
    together, 0 for any. `accumulate`: batches whose mean gradient makes one update.
    """
    made = CycledAdamW(
        schedule(kind, rate, steps),
        weight_decay=weight_decay,
        beta_1=0.9,
        beta_2=beta_2,
        global_clipnorm=clip or None,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
        shares=shares,
        name="adamw",
    )
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
