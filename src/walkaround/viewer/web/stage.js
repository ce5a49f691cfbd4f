// The beginning of the 3-D view. Its scripts and a browser's first WebGL picture take a while, and keep this page
// busy; a picture drawn by the server stands in for it until it has drawn its own.
const view = document.getElementById("view");
const poster = document.getElementById("poster");
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

const PANEL_PX = 324; // viser's controls, docked at the right unless the view is narrow
const NARROW_PX = 576;

const dark = matchMedia("(prefers-color-scheme: dark)");

export async function begin(tell) {
  await tell("/api/theme", { dark: dark.matches });
  dark.addEventListener("change", () => tell("/api/theme", { dark: dark.matches }));
  await Promise.race([hang(), pause(1500)]);
  view.src = "/3d/";
  const gl = await context();
  if (gl) {
    const inner = view.contentWindow;
    inner.addEventListener("pointerdown", takeDown);
    await tell("/api/draws", { software: isSoftware(gl) });
    await pause(400); // its first pictures are empty
    for (let frames = 4; frames; frames--) await new Promise((done) => inner.requestAnimationFrame(done));
  }
  takeDown();
}

function hang() {
  const { clientWidth, clientHeight: height } = view;
  const width = clientWidth < NARROW_PX ? clientWidth : clientWidth - PANEL_PX;
  if (!width || !height) return null;
  return new Promise((done) => {
    poster.onload = () => {
      poster.hidden = Boolean(poster.dataset.done);
      painted().then(done);
    };
    poster.onerror = done;
    poster.src = `/api/poster?${new URLSearchParams({ width, height, dark: Number(dark.matches) })}`;
  });
}

function takeDown() {
  poster.dataset.done = "true";
  poster.hidden = true;
}

async function context() {
  for (let tries = 300; tries; tries--) {
    for (const canvas of view.contentDocument?.querySelectorAll("canvas[data-engine]") ?? []) {
      const gl = canvas.getContext("webgl2");
      if (gl) return gl;
    }
    await pause(100);
  }
  return null;
}

// Without a graphics card fewer points are sent; viser says so too.
function isSoftware(gl) {
  const named = gl.getExtension("WEBGL_debug_renderer_info");
  return SOFTWARE.test(String(gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER)));
}
