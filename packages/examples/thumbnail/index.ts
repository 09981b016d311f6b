/** A thumbnail of the image in the body: POST a PNG or a JPEG, ?width= says how wide. What comes back has the same format. */
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import { type Bitmap, shrink } from './shrink.js';

const WIDTH_DEFAULT = 160;
const WIDTH_MAX = 1024;
const MEGAPIXELS_MAX = 24;
const JPEG_QUALITY = 85;

interface Format {
  type: string;
  /** Throws for what is none, or too large. */
  decode(bytes: Buffer): Bitmap;
  encode(bitmap: Bitmap): Buffer;
}

const JPEG: Format = {
  type: 'image/jpeg',
  decode: (bytes) => jpeg.decode(bytes, { maxResolutionInMP: MEGAPIXELS_MAX }),
  encode: (bitmap) => jpeg.encode(bitmap, JPEG_QUALITY).data,
};

const Png: Format = {
  type: 'image/png',
  decode(bytes) {
    // The size stands in the first chunk: look before a small file becomes gigabytes of pixels.
    const pixels = bytes.readUInt32BE(16) * bytes.readUInt32BE(20);
    if (pixels > MEGAPIXELS_MAX * 1e6) throw new Error(`more than ${MEGAPIXELS_MAX} megapixels`);
    return PNG.sync.read(bytes);
  },
  encode(bitmap) {
    const png = new PNG({ width: bitmap.width, height: bitmap.height });
    bitmap.data.copy(png.data);
    return PNG.sync.write(png);
  },
};

const PNG_SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
const JPEG_SIGNATURE = Buffer.from('ffd8ff', 'hex');

function formatOf(bytes: Buffer): Format | undefined {
  if (bytes.indexOf(PNG_SIGNATURE) === 0 && bytes.length > 24) return Png;
  if (bytes.indexOf(JPEG_SIGNATURE) === 0) return JPEG;
  return undefined;
}

const refusal = (status: number, message: string) => new Response(`${message}\n`, { status });

export default {
  async fetch(request: Request): Promise<Response> {
    const width = Number(new URL(request.url).searchParams.get('width') ?? WIDTH_DEFAULT);
    if (!Number.isInteger(width) || width < 1 || width > WIDTH_MAX) {
      return refusal(400, `width is a number from 1 to ${WIDTH_MAX}`);
    }
    const bytes = Buffer.from(await request.arrayBuffer());
    const format = formatOf(bytes);
    if (!format) return refusal(415, 'send a PNG or a JPEG');
    let image: Bitmap;
    try {
      image = format.decode(bytes);
    } catch (error) {
      return refusal(422, `the image cannot be decoded: ${(error as Error).message}`);
    }
    const thumbnail = new Uint8Array(format.encode(shrink(image, width)));
    return new Response(thumbnail, { headers: { 'content-type': format.type } });
  },
};
