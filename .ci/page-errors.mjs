// docs/errors.md, from the table of the API.
import { ERRORS } from '../api/dist/src/errors.js';

const HEAD = `# Errors

Made from \`api/src/errors.ts\` by \`node .ci/generated.mjs --write\`.

Every answer of the HTTP API that is neither a success nor a function's own has this body, with the status of the table:

\`\`\`json
{ "code": "MAYFLY_FUNCTION_UNKNOWN", "message": "there is no function \\"hello\\"", "hint": "see \`mayfly ls\` for what is deployed, or deploy it" }
\`\`\`

\`code\` is stable: branch on it. \`message\` tells the case at hand, \`hint\` what to do. Where it helps there are also \`location\` (file, line, column
and text of the source), \`stack\`, \`logs\` and \`invocation\`; callers of \`/fn\` never see these. 429 and 503 carry \`Retry-After\`.

Codes that start with \`FUNCTION_\` have status 400 when they stop a deployment, and 502 when they end an invocation. A code that is not in the
table and starts with \`MAYFLY_GUEST_\`, \`MAYFLY_VIRTIO_\`, \`MAYFLY_VSOCK_\`, \`MAYFLY_CONSOLE_\` or \`MAYFLY_UNEXPECTED_EXIT\` says what a guest did to itself: 502.

| code | status | what it means | what to do |
|---|---|---|---|
`;

export function errorsPage() {
  const cell = (text) => text.replaceAll('|', '\\|');
  const row = ([code, { status, message, hint }]) =>
    `| \`${code}\` | ${status} | ${cell(message)} | ${cell(hint)} |\n`;
  return HEAD + Object.entries(ERRORS).map(row).join('');
}
