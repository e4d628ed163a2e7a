"""Learning rates over the steps of a stage, and the optimiser that follows them."""

import math

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


@keras.saving.register_keras_serializable("fatk")
class CycledAdamW(keras.optimizers.AdamW):
    """AdamW whose first-moment coefficient follows the schedule's `momentum`, where it has one."""

    def update_step(self, gradient, variable, learning_rate):
        """One update, with the momentum of this step."""
        schedule = self._learning_rate
        fixed = self.beta_1  # type: ignore[has-type]
        if hasattr(schedule, "momentum"):
            self.beta_1 = schedule.momentum(self.iterations)
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.beta_1 = fixed  # a traced value must not outlive the step


def schedule(kind: str, rate: float, steps: int):
    """-> a schedule over `steps` steps, or the constant rate."""
    if kind == "one_cycle":
        return OneCycle(rate, steps)
    if kind == "cosine":
        warm = max(1, steps // 20)
        return keras.optimizers.schedules.CosineDecay(
            rate / 25, max(1, steps - warm), alpha=1e-3, warmup_target=rate, warmup_steps=warm
        )
    return rate


def optimizer(kind: str, rate: float, steps: int, weight_decay: float, beta_2: float) -> CycledAdamW:
    """-> AdamW on a schedule; decay is decoupled and spares biases and the scales and shifts of norms."""
    made = CycledAdamW(
        schedule(kind, rate, steps), weight_decay=weight_decay, beta_1=0.9, beta_2=beta_2, name="adamw"
    )
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
