/* SPDX-License-Identifier: MIT */
/*
 * GET / and GET /web/...: the dashboard, whose files are part of the program (page.S).
 */
#include <string.h>

#include "app.h"

#define FILE_OF_PAGE(name) extern const char page_##name[], page_##name##_end[]
FILE_OF_PAGE(index_html);
FILE_OF_PAGE(page_css);
FILE_OF_PAGE(page_js);
FILE_OF_PAGE(text_js);
FILE_OF_PAGE(figures_js);
FILE_OF_PAGE(chat_js);
FILE_OF_PAGE(audio_js);
FILE_OF_PAGE(microphone_js);
FILE_OF_PAGE(icon_svg);

static const struct {
    const char *path, *type, *begin, *end;
} files[] = {
    {"/", "text/html; charset=utf-8", page_index_html, page_index_html_end},
    {"/web/page.css", "text/css; charset=utf-8", page_page_css, page_page_css_end},
    {"/web/page.js", "text/javascript; charset=utf-8", page_page_js, page_page_js_end},
    {"/web/text.js", "text/javascript; charset=utf-8", page_text_js, page_text_js_end},
    {"/web/figures.js", "text/javascript; charset=utf-8", page_figures_js, page_figures_js_end},
    {"/web/chat.js", "text/javascript; charset=utf-8", page_chat_js, page_chat_js_end},
    {"/web/audio.js", "text/javascript; charset=utf-8", page_audio_js, page_audio_js_end},
    {"/web/microphone.js", "text/javascript; charset=utf-8", page_microphone_js, page_microphone_js_end},
    {"/web/icon.svg", "image/svg+xml", page_icon_svg, page_icon_svg_end},
};

int page_answer(td_http *http, struct app *app)
{
    /* Nothing from elsewhere, and no script but these files: what others say in the chat cannot become one. */
    static const char fields[] = "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                                 "Referrer-Policy: no-referrer\r\n"
                                 "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
                                 "img-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
                                 "frame-ancestors 'none'\r\n";
    const char *path = td_http_path(http);

    (void)app;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].path, path) == 0)
            return td_http_respond(http, 200, fields, files[i].type, files[i].begin,
                                   (size_t)(files[i].end - files[i].begin));
    return answer_error(http, 404, NULL, "no such file of the page");
}
