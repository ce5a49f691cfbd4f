// An orbiting point cloud in WebGL. The points come as walkaroundCloud({...}), see site/cloud.py.
"use strict";
(() => {
  const VERTEX = `
    attribute vec3 place; attribute vec3 colour; attribute vec3 normal;
    uniform mat4 clip_from_world; uniform vec3 low; uniform float extent; uniform vec3 eye; uniform float size;
    uniform float shaded; varying vec3 seen;
    void main() {
      vec3 at = low + extent * place;
      gl_Position = clip_from_world * vec4(at, 1.0);
      gl_PointSize = clamp(size / gl_Position.w, 1.0, 40.0);
      float facing = dot(normalize(eye - at), normal);
      if (shaded > 0.5 && facing < -0.15) gl_Position = vec4(0.0, 0.0, 2.0, 1.0); // the far side: out of sight
      seen = colour * mix(1.0, 0.6 + 0.42 * clamp(facing, 0.0, 1.0), shaded);
    }`;
  const FRAGMENT = `
    precision mediump float; varying vec3 seen; uniform float round_points;
    void main() {
      vec2 from_middle = gl_PointCoord - 0.5;
      if (round_points > 0.5 && dot(from_middle, from_middle) > 0.25) discard;
      gl_FragColor = vec4(seen, 1.0);
    }`;
  const CORNERS = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1];
  const FIELD = Math.tan((20 * Math.PI) / 180);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  window.walkaroundCloud = (cloud) => {
    const box = document.getElementById("orbit");
    const canvas = box.querySelector("canvas");
    const gl = canvas.getContext("webgl", { antialias: true, alpha: true, premultipliedAlpha: true });
    if (!gl) return; // the picture stays
    const scene = upload(gl, cloud);
    const home = { turn: (cloud.front * Math.PI) / 180, rise: 0.32, away: 2.9 * cloud.radius };
    const view = { ...home };
    let turning = !calm.matches, cameras = false, visible = true, asked = 0, before = 0;

    canvas.hidden = false;
    box.querySelector(".tools").hidden = false;
    box.classList.add("ready");

    const draw = (now) => {
      asked = 0;
      if (turning && visible && before) view.turn += Math.min(now - before, 60) * 0.00035;
      before = turning ? now : 0;
      paint(gl, scene, cloud, view, canvas, cameras);
      if (turning && visible) ask();
    };
    const ask = () => { asked ||= requestAnimationFrame(draw); };
    const tools = Object.fromEntries([...box.querySelectorAll("[data-do]")].map((tool) => [tool.dataset.do, tool]));
    const press = () => {
      tools.turn.setAttribute("aria-pressed", turning);
      tools.cameras.setAttribute("aria-pressed", cameras);
      tools.cameras.hidden = !cloud.cameras.length;
      before = 0;
      ask();
    };
    const reach = () => Math.max(...cloud.cameras.map((c) => Math.hypot(...[0, 1, 2].map((k) => c[k] - cloud.middle[k]))));
    const acts = {
      turn: () => { turning = !turning; },
      cameras: () => { cameras = !cameras; view.away = cameras ? 3.2 * reach() : home.away; },
      reset: () => { Object.assign(view, home); cameras = false; },
    };
    const zoom = (factor) => { view.away = Math.min(Math.max(view.away * factor, 0.6 * cloud.radius), 60 * cloud.radius); };
    const move = (dx, dy) => {
      view.turn -= dx * 0.008;
      view.rise = Math.min(Math.max(view.rise + dy * 0.008, -1.5), 1.5);
    };

    for (const [name, tool] of Object.entries(tools)) tool.addEventListener("click", () => { acts[name](); press(); });
    const keys = {
      ArrowLeft: () => move(12, 0), ArrowRight: () => move(-12, 0), ArrowUp: () => move(0, 12), ArrowDown: () => move(0, -12),
      "+": () => zoom(0.88), "=": () => zoom(0.88), "-": () => zoom(1 / 0.88), 0: acts.reset, " ": acts.turn, c: acts.cameras,
    };
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (event.key.startsWith("Arrow")) turning = false;
      keys[event.key]();
      press();
    });
    const fingers = new Map();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      turning = false;
      press();
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
      const wide = fingers.size === 2 ? spread() : 0;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (wide) zoom(wide / Math.max(spread(), 1));
      else move(event.clientX - last[0], event.clientY - last[1]);
      ask();
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // else the page scrolls
      event.preventDefault();
      zoom(Math.exp(Math.sign(event.deltaY) * 0.12));
      ask();
    }, { passive: false });
    new ResizeObserver(ask).observe(canvas);
    new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; before = 0; ask(); }).observe(canvas);
    calm.addEventListener("change", () => { turning = turning && !calm.matches; press(); });
    press();
  };

  function bytes(text) {
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let n = 0; n < raw.length; n += 1) out[n] = raw.charCodeAt(n);
    return out;
  }

  function upload(gl, cloud) {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    ["place", "colour", "normal"].forEach((name, place) => gl.bindAttribLocation(program, place, name));
    gl.linkProgram(program);
    gl.useProgram(program);
    const buffer = (values) => {
      const made = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, made);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      return made;
    };
    const corners = cloud.cameras.flatMap((camera) => CORNERS.flatMap((k) => camera.slice(3 * k, 3 * k + 3)));
    const names = ["clip_from_world", "low", "extent", "eye", "size", "shaded", "round_points"];
    return {
      places: buffer(bytes(cloud.points)),
      colours: cloud.colours && buffer(bytes(cloud.colours)),
      normals: cloud.normals && buffer(bytes(cloud.normals)),
      lines: buffer(new Float32Array(corners)),
      numLines: corners.length / 3,
      at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])),
    };
  }

  function paint(gl, scene, cloud, view, canvas, cameras) {
    const scale = Math.min(devicePixelRatio || 1, 2);
    const [wide, tall] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
    const { matrix, eye } = seenFrom(view, cloud, wide / Math.max(tall, 1));
    gl.viewport(0, 0, wide, tall);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.uniformMatrix4fv(scene.at.clip_from_world, false, matrix);
    gl.uniform3fv(scene.at.eye, eye);
    gl.uniform1f(scene.at.size, (1.9 * cloud.spacing * tall) / FIELD / 2);
    bind(gl, 0, scene.places, gl.UNSIGNED_SHORT, true, [0, 0, 0]);
    bind(gl, 1, scene.colours, gl.UNSIGNED_BYTE, true, [0.66, 0.66, 0.66]);
    bind(gl, 2, scene.normals, gl.BYTE, true, [0, 0, 1]);
    gl.uniform3fv(scene.at.low, cloud.low);
    gl.uniform1f(scene.at.extent, cloud.step * 65535);
    gl.uniform1f(scene.at.shaded, scene.normals ? 1 : 0);
    gl.uniform1f(scene.at.round_points, 1);
    gl.drawArrays(gl.POINTS, 0, cloud.count);
    if (!cameras || !scene.numLines) return;
    bind(gl, 0, scene.lines, gl.FLOAT, false, [0, 0, 0]);
    bind(gl, 1, null, 0, false, [0.3, 0.52, 0.85]);
    bind(gl, 2, null, 0, false, [0, 0, 1]);
    gl.uniform3fv(scene.at.low, [0, 0, 0]);
    gl.uniform1f(scene.at.extent, 1);
    gl.uniform1f(scene.at.shaded, 0);
    gl.uniform1f(scene.at.round_points, 0);
    gl.drawArrays(gl.LINES, 0, scene.numLines);
  }

  function bind(gl, place, buffer, kind, normalised, instead) {
    if (!buffer) {
      gl.disableVertexAttribArray(place);
      gl.vertexAttrib3fv(place, instead);
      return;
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, kind, normalised, 0, 0);
  }

  // The matrix (columns first) of a camera that looks at the middle of the cloud, z up.
  function seenFrom(view, cloud, aspect) {
    const [ct, st, cr, sr] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.rise), Math.sin(view.rise)];
    const back = [ct * cr, st * cr, sr], right = [-st, ct, 0], up = [-ct * sr, -st * sr, cr];
    const away = view.away * Math.max(1, 1 / aspect);
    const eye = back.map((value, k) => cloud.middle[k] + away * value);
    const [near, far] = [0.02 * away, away + 80 * cloud.radius];
    const rows = [
      scaled(right, 1 / (FIELD * aspect)), scaled(up, 1 / FIELD), scaled(back, -(far + near) / (far - near)), scaled(back, -1),
    ];
    const offsets = rows.map((row) => -(row[0] * eye[0] + row[1] * eye[1] + row[2] * eye[2]));
    offsets[2] -= (2 * far * near) / (far - near);
    // clip z = -(f+n)/(f-n) * z_eye - 2fn/(f-n), with z_eye = back . (x - eye), so both signs above hold
    const matrix = [];
    for (let column = 0; column < 3; column += 1) for (let row = 0; row < 4; row += 1) matrix.push(rows[row][column]);
    return { matrix: new Float32Array([...matrix, ...offsets]), eye };
  }

  function scaled(vector, factor) {
    return vector.map((value) => value * factor);
  }
})();
