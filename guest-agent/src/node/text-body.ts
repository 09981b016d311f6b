/**
 * Most Responses are made of a string, and reading it back through the body's stream costs more than the rest of an
 * invocation. So the constructor remembers the string. Nothing else about Response changes: it is a proxy of Node's own
 * class, with the same prototype.
 */
const texts = new WeakMap<object, string>();

/** Takes the place of the global Response; call it before the user's code can have taken a reference to it. */
export function rememberTextBodies(): void {
  const original = globalThis.Response;
  const remembering = new Proxy(original, {
    construct(target, args, newTarget) {
      const response = Reflect.construct(target, args, newTarget);
      const [body] = args as unknown[];
      if (typeof body === 'string') texts.set(response, body);
      return response;
    },
  });
  original.prototype.constructor = remembering;
  globalThis.Response = remembering;
  const json = original.json;
  original.json = (data: unknown, init?: ResponseInit) => {
    const text = JSON.stringify(data);
    if (text === undefined) return json.call(original, data, init); // It throws as it should.
    const headers = new Headers(init?.headers);
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return new remembering(text, { ...init, headers });
  };
}

/** The string that a Response was made of, unless somebody has read from it since. */
export function textBodyOf(response: Response): string | undefined {
  return response.bodyUsed ? undefined : texts.get(response);
}
