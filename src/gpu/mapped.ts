// The only place that maps buffers.

/** Maps a MAP_READ buffer, copies its first `size` bytes out and destroys it. */
export async function readMapped(staging: GPUBuffer, size: number): Promise<ArrayBuffer> {
  await staging.mapAsync(0x01, 0, size); // GPUMapMode.READ
  const bytes = staging.getMappedRange(0, size).slice(0);
  staging.unmap();
  staging.destroy();
  return bytes;
}
