/** Deploys a function on a server; gives the URL to call it at. */
export async function deploy(server: string, name: string, source: object): Promise<string> {
  const response = await fetch(`${server}/v1/functions/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(source),
  });
  if (!response.ok) throw new Error(`deploying failed: ${await response.text()}`);
  return `${server}/fn/${name}`;
}
