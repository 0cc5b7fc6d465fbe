/* SPDX-License-Identifier: MIT */
/* The page: puts its parts together. Commands get this server's own address and a button that copies them. */
import {put, ws} from './text.js';
import {watch} from './figures.js';
import {buildChat, chatSeen} from './chat.js';
import {audioSeen, buildAudio} from './audio.js';

function buildCommands() {
  for (const pre of document.querySelectorAll('#ends pre')) {
    const button = put('button', 'Copy');
    pre.textContent = pre.textContent.replace('http://127.0.0.1:8080', location.origin).replace('ws://127.0.0.1:8080', ws);
    if (!navigator.clipboard) continue;
    button.setAttribute('aria-label', `Copy: ${pre.textContent}`);
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(pre.textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    });
    pre.parentElement.querySelector('h3').after(button);
  }
}

document.addEventListener('visibilitychange', () => {
  watch();
  chatSeen();
  audioSeen();
});

buildChat();
buildAudio();
buildCommands();
watch();
