// Two frames beside each other: matched points, and the epipolar curve of the pixel under the pointer.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const NEAR = 0.012; // of the image's width: a match this near to the pointer is meant

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Pair {
  constructor({ ask, say }) {
    this.ask = ask;
    this.say = say;
    this.shown = null;
    this.asked = 0;
    $("frame-a").addEventListener("change", () => this.load({ partner: $("frame-a").value === $("frame-b").value }));
    $("frame-b").addEventListener("change", () => this.load());
    $("swap").addEventListener("click", () => this.swap());
    $("show-matches").addEventListener("change", () => this.draw());
    for (const id of ["pair-mask", "pair-depth"]) $(id).addEventListener("input", () => this.paint());
    for (const side of ["a", "b"]) {
      const svg = this.svg(side);
      svg.addEventListener("pointermove", (event) => this.point(side, event));
      svg.addEventListener("pointerleave", () => this.clear());
    }
  }

  svg(side) {
    return $(`side-${side}`).querySelector("svg");
  }

  setScene(scene) {
    this.scene = scene;
    this.shown = null;
    for (const id of ["frame-a", "frame-b"]) {
      const options = scene.frames.map(({ image, camera }) => new Option(camera ? image : `${image} (no camera)`, image));
      $(id).replaceChildren(...options);
    }
    if (!$("panel-pair").hidden) this.show();
  }

  show() {
    if (!this.shown && this.scene.frames.length) this.load({ partner: true });
  }

  swap() {
    [$("frame-a").value, $("frame-b").value] = [$("frame-b").value, $("frame-a").value];
    this.load();
  }

  async load({ partner = false } = {}) {
    try {
      const query = { a: $("frame-a").value };
      if (!partner) query.b = $("frame-b").value;
      this.shown = await this.ask("/api/pair", query);
      $("frame-b").value = this.shown.b;
      this.say("");
      this.paint();
      this.draw();
    } catch (error) {
      this.say(error.message);
    }
  }

  paint() {
    if (!this.shown) return;
    for (const side of ["a", "b"]) {
      const query = { image: this.shown[side], mask: $("pair-mask").value, depth: $("pair-depth").value };
      $(`side-${side}`).querySelector("img").src = `/api/image?${new URLSearchParams(query)}`;
    }
  }

  draw() {
    const { matches, angle_deg, num_matches, residual_px } = this.shown;
    ["a", "b"].forEach((side, number) => {
      const [width, height] = this.shown[`size_${side}`];
      const svg = this.svg(side);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const marks = element("g", { class: "marks" });
      if ($("show-matches").checked) {
        for (const [index, found] of matches.entries()) {
          const hue = (index * 137.5) % 360;
          const at = { cx: found[2 * number], cy: found[2 * number + 1], r: width / 250, stroke: `hsl(${hue} 90% 55%)` };
          marks.append(element("circle", at));
        }
      }
      svg.replaceChildren(marks, element("g", { class: "pointer" }));
    });
    const said = [];
    if (angle_deg !== undefined) said.push(`${angle_deg.toFixed(1)}° apart`, `${num_matches} points in common`);
    else said.push("one of them has no camera");
    if (residual_px != null) said.push(`half of them within ${residual_px.toFixed(2)} px of their epipolar line`);
    $("pair-text").textContent = said.join(", ");
  }

  clear() {
    for (const side of ["a", "b"]) this.svg(side).querySelector(".pointer")?.replaceChildren();
  }

  async point(side, event) {
    if (!this.shown || this.shown.angle_deg === undefined) return;
    const svg = this.svg(side);
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const asked = ++this.asked;
    if (this.waiting) return void (this.next = [side, event]); // one request at a time, the last one counts
    this.waiting = true;
    const other = side === "a" ? "b" : "a";
    try {
      const curve = await this.ask("/api/epipolar", { a: this.shown[side], b: this.shown[other], x, y });
      if (asked <= this.asked) this.drawCurve(side, other, x, y, curve);
    } catch (error) {
      this.say(error.message);
    } finally {
      this.waiting = false;
      const next = this.next;
      this.next = null;
      if (next) this.point(...next);
    }
  }

  drawCurve(side, other, x, y, curve) {
    this.clear();
    const size = this.shown[`size_${side}`][0] / 80;
    const cross = `M${x - size} ${y}H${x + size}M${x} ${y - size}V${y + size}`;
    this.svg(side).querySelector(".pointer").append(element("path", { class: "cross", d: cross }));
    this.svg(other).querySelector(".pointer").append(element("polyline", { points: curve.join(" ") }));
    this.markNearest(side, x, y);
  }

  markNearest(side, x, y) {
    const at = side === "a" ? 0 : 2;
    let nearest = null;
    let least = NEAR * this.shown[`size_${side}`][0];
    for (const found of this.shown.matches) {
      const distance = Math.hypot(found[at] - x, found[at + 1] - y);
      if (distance < least) [nearest, least] = [found, distance];
    }
    if (!nearest) return;
    ["a", "b"].forEach((name, number) => {
      const r = this.shown[`size_${name}`][0] / 160;
      const mark = { class: "near", cx: nearest[2 * number], cy: nearest[2 * number + 1], r };
      this.svg(name).querySelector(".pointer").append(element("circle", mark));
    });
  }
}
