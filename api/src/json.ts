/** JSON of strangers. */

/**
 * Deeper values are refused. Reading one takes no stack, but writing it again does, for an answer or for the store, where
 * one record that cannot be written would take others with it.
 */
const DEPTH_MAX = 256;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws Error whose message says what the bytes are instead */
export function parseJson(bytes: Uint8Array): unknown {
  const value = parse(bytes);
  if (bytes.length > 2 * DEPTH_MAX && isDeep(bytes)) {
    throw new Error(`nested deeper than ${DEPTH_MAX}`);
  }
  return value;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (error) {
    const isJson = error instanceof SyntaxError;
    throw new Error(isJson ? `not JSON: ${error.message}` : 'not UTF-8');
  }
}

/** Of bytes that are JSON: outside of strings brackets come in pairs, and bytes of longer characters are none. */
function isDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let isText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) isText = !isText;
    else if (isText) i += byte === BACKSLASH ? 1 : 0;
    else if (byte === BRACKET || byte === BRACE) depth++;
    else if (byte === BRACKET + 2 || byte === BRACE + 2) depth--;
    if (depth > DEPTH_MAX) return true;
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACKET = 0x5b;
const BRACE = 0x7b;
