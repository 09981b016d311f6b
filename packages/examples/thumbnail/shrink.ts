/** Makes bitmaps smaller: each new pixel is the mean of the pixels that it covers. */

export interface Bitmap {
  width: number;
  height: number;
  /** RGBA, 4 bytes a pixel, row by row. */
  data: Buffer;
}

/** Keeps the proportions; a bitmap that is narrow enough comes back as it is. */
export function shrink(bitmap: Bitmap, width: number): Bitmap {
  if (bitmap.width <= width) return bitmap;
  const height = Math.max(1, Math.round((bitmap.height * width) / bitmap.width));
  const data = Buffer.alloc(width * height * 4);
  for (let y = 0; y < height; y++) {
    const [top, bottom] = covered(y, height, bitmap.height);
    for (let x = 0; x < width; x++) {
      const [left, right] = covered(x, width, bitmap.width);
      writeMean(data, (y * width + x) * 4, bitmap, { left, top, right, bottom });
    }
  }
  return { width, height, data };
}

/** The first of the old rows or columns that a new one covers, and the one behind the last. */
function covered(index: number, count: number, oldCount: number): [number, number] {
  const from = Math.floor((index * oldCount) / count);
  return [from, Math.max(from + 1, Math.floor(((index + 1) * oldCount) / count))];
}

interface Area {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Colours count as much as they are opaque, so that what cannot be seen does not shine through. */
function writeMean(target: Buffer, at: number, { data, width }: Bitmap, area: Area): void {
  let [red, green, blue, alpha] = [0, 0, 0, 0];
  for (let y = area.top; y < area.bottom; y++) {
    for (let x = area.left; x < area.right; x++) {
      const i = (y * width + x) * 4;
      const opacity = data[i + 3] as number;
      red += (data[i] as number) * opacity;
      green += (data[i + 1] as number) * opacity;
      blue += (data[i + 2] as number) * opacity;
      alpha += opacity;
    }
  }
  const pixels = (area.right - area.left) * (area.bottom - area.top);
  target[at] = alpha && Math.round(red / alpha);
  target[at + 1] = alpha && Math.round(green / alpha);
  target[at + 2] = alpha && Math.round(blue / alpha);
  target[at + 3] = Math.round(alpha / pixels);
}
