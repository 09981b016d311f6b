/** Markdown in the body, a page of HTML back. Raw HTML in it is shown as text, and links that run scripts are none. */
import MarkdownIt from 'markdown-it';

const markdown = new MarkdownIt({ html: false, linkify: true, typographer: true });

const STYLE = 'body { max-width: 42em; margin: 2em auto; font: 1em/1.5 sans-serif }';

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${title}</title><style>${STYLE}</style></head>
<body>
${body}</body>
</html>
`;
}

/** The text of the first heading. */
function titleOf(text: string): string {
  const tokens = markdown.parse(text, {});
  const heading = tokens.findIndex(({ type }) => type === 'heading_open');
  return markdown.utils.escapeHtml(tokens[heading + 1]?.content ?? 'Untitled');
}

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method !== 'POST') {
      return new Response('POST Markdown here\n', { status: 405, headers: { allow: 'POST' } });
    }
    const text = await request.text();
    const title = new URL(request.url).searchParams.get('title');
    const html = page(
      title === null ? titleOf(text) : markdown.utils.escapeHtml(title),
      markdown.render(text),
    );
    const headers = { 'content-type': 'text/html; charset=utf-8' };
    return new Response(html, { headers });
  },
};
