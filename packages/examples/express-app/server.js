// An Express application as it runs anywhere: nothing in it knows of Mayfly.
import express from 'express';

const app = express();
app.use(express.json());
app.use(express.urlencoded({ extended: false }));

const UNITS = new Map([
  ['km-mi', (value) => value / 1.609344],
  ['mi-km', (value) => value * 1.609344],
  ['c-f', (value) => (value * 9) / 5 + 32],
  ['f-c', (value) => ((value - 32) * 5) / 9],
]);

app.get('/', (_request, response) => {
  response.type('html').send('<form method="post" action="/greet"><input name="name"></form>');
});

app.get('/convert/:units/:value', (request, response) => {
  const convert = UNITS.get(request.params.units);
  const value = Number(request.params.value);
  if (!convert || !Number.isFinite(value)) return response.status(404).json({ error: 'unknown' });
  response.json({ value: Number(convert(value).toFixed(4)) });
});

app.post('/greet', (request, response) => {
  const name = request.body?.name;
  if (!name) return response.status(400).json({ error: 'name is missing' });
  response.set('x-greeted', encodeURIComponent(name)).json({ hello: name });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on ${server.address().port}`);
});
