// Waits for a condition, and says which one it was if it never comes true.

const EVERY_MS = 50;

/** The first truthy value of `condition`, which may be async. */
export async function until(what, condition, timeoutMs = 120_000) {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}
