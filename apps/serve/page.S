/* SPDX-License-Identifier: MIT */
/* The files of web/, as they lie there: page_NAME to page_NAME_end. page.c has their paths and types. */
    .macro file name, path
    .globl page_\name, page_\name\()_end
    .hidden page_\name, page_\name\()_end
page_\name:
    .incbin "\path"
page_\name\()_end:
    .byte 0
    .endm

    .section .rodata
    file index_html, "web/index.html"
    file page_css, "web/page.css"
    file page_js, "web/page.js"
    file text_js, "web/text.js"
    file figures_js, "web/figures.js"
    file chat_js, "web/chat.js"
    file audio_js, "web/audio.js"
    file microphone_js, "web/microphone.js"
    file icon_svg, "web/icon.svg"
    .section .note.GNU-stack, "", %progbits
