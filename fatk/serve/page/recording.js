// From a microphone, or from a file that only the browser can decode, to a WAV that every service reads.

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

// Any sound that this browser decodes -> {blob, name} of a 16-bit mono WAV.
export async function toWav(blob, name) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    return { blob: wav(mono(sound), sound.sampleRate), name: name.replace(/\.\w+$/, "") + ".wav" };
  } finally {
    context.close();
  }
}

function mono(sound) {
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let i = 0; i < mixed.length; i++) mixed[i] += samples[i] / sound.numberOfChannels;
  }
  return mixed;
}

function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format that follow
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channel
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

// Records until `stop`, or for `most` seconds. `progress(seconds, level)` is told several times a second.
export async function record(most, progress) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const begun = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    analyser.getFloatTimeDomainData(samples);
    progress(seconds, samples.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0));
    if (seconds >= most && recorder.state === "recording") recorder.stop();
  }, 100);
  const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  recorder.start();
  return {
    stop: () => recorder.state === "recording" && recorder.stop(),
    finished: ended.then(() => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      const blob = new Blob(pieces, { type: recorder.mimeType });
      const when = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
      return toWav(blob, `recording ${when}.webm`);
    }),
  };
}
