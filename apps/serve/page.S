/* SPDX-License-Identifier: MIT */
/* The dashboard, as it lies in web/. */
    .section .rodata
    .globl page_html
    .type page_html, %object
page_html:
    .incbin "web/index.html"
page_html_end:
    .size page_html, . - page_html
    .globl page_html_size
    .type page_html_size, %object
    .p2align 3
page_html_size:
    .quad page_html_end - page_html
    .size page_html_size, 8
    .section .note.GNU-stack, "", %progbits
