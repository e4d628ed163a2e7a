"""How a served model is called, for its card. RATE stands for its rate in hertz."""

CALLS = """\
Python, with TensorFlow and soundfile, in this folder; `clip.wav` is mono, at RATE Hz:

```python
import soundfile, tensorflow as tf
model, (sound, rate) = tf.saved_model.load("saved_model"), soundfile.read("clip.wav", dtype="float32")
names = [name.decode() for name in model.signatures["classes"]()["classes"].numpy()]
chances = model.signatures["serving_default"](audio=tf.constant(sound[None]))["probabilities"][0].numpy()
print(sorted(zip(chances, names), reverse=True)[:3])
```

Over HTTP, served by `python -m fatk.serve --model DIR --port 8501`, or by TensorFlow Serving with `saved_model` as
version 1 of a model named `fatk`. The WAV has 16 bits and RATE Hz. `predictions[0]` is in the classes' order.

```sh
echo "{\\"signature_name\\": \\"wav\\", \\"instances\\": [{\\"b64\\": \\"$(base64 < clip.wav | tr -d '\\n')\\"}]}" |
  curl --data @- http://localhost:8501/v1/models/fatk:predict
```

```js
const bytes = new Uint8Array(await (await fetch("clip.wav")).arrayBuffer());
const b64 = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const body = JSON.stringify({ signature_name: "wav", instances: [{ b64 }] });
const answer = await fetch("http://localhost:8501/v1/models/fatk:predict", { method: "POST", body });
const { predictions } = await answer.json();
```
"""
