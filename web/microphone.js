/* SPDX-License-Identifier: MIT */
/* Runs on the browser's audio thread: gathers 2048 samples of what the microphone hears, then hands them to audio.js. */
registerProcessor('microphone', class extends AudioWorkletProcessor {
  samples = new Float32Array(2048);
  size = 0;

  process([[heard]]) {
    if (!heard) return true;
    this.samples.set(heard, this.size);
    this.size += heard.length;
    if (this.size === this.samples.length) {
      this.port.postMessage(this.samples);
      this.size = 0;
    }
    return true;
  }
});
