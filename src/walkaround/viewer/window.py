"""One 3-D view: a viser server on loopback that shows one scene at a time."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError
from walkaround.types import View
from walkaround.viewer import drawing
from walkaround.viewer.clouds import Level, levels
from walkaround.viewer.content import Content
from walkaround.viewer.detail import SOFTWARE_BUDGET, Detail, Wanted
from walkaround.viewer.flight import fly_to, look_at_all, send_screenshot
from walkaround.viewer.gateway import hidden_address
from walkaround.viewer.link import Eye
from walkaround.viewer.marks import Marks
from walkaround.viewer.panel import KINDS, Panel, Settings
from walkaround.viewer.pictures import laid_over, thumbnail
from walkaround.viewer.world import backdrop, depth_of

if TYPE_CHECKING:
    import viser

logger = logging.getLogger(__name__)


class Window:
    """Shows a scene, and does what its controls ask for (:class:`walkaround.viewer.panel.Actions`)."""

    def __init__(self, *, has_folded_panel: bool = False) -> None:
        import viser

        self.has_folded_panel = has_folded_panel

        with contextlib.redirect_stdout(io.StringIO()):  # viser prints addresses that are not ours
            self.server = viser.ViserServer(host=hidden_address(), port=0, verbose=False)
        self.set_theme(dark=False)
        # viser's own light (an environment map, shadows) costs a browser more than a first picture of points
        self.server.scene.configure_environment_map(None)
        self.server.scene.configure_default_lights(cast_shadow=False)
        self._lock = threading.RLock()
        self._generation = 0
        self.content: Content | None = None
        self._panel: Panel | None = None
        self.number = 0
        self.on_eye: Callable[[viser.CameraHandle], None] | None = None
        """Called when a browser's eye has moved."""
        self.beside: Window | None = None
        """The view whose eye moves with this one's."""
        self.leads = True
        self.detail: Detail | None = None
        """The dense points; None before the first scene."""
        self._drawn_in_software: bool | None = None
        """Whether a browser draws without a graphics card; None until one has said it."""
        self._forget()
        self.server.on_client_connect(self._welcome)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server; for the gateway only."""
        return self.server.get_host(), self.server.get_port()

    @property
    def panel(self) -> Panel:
        """The controls of the scene that is shown; there are none before the first."""
        if self._panel is None:
            raise RuntimeError("no scene is shown yet")
        return self._panel

    def set_theme(self, *, dark: bool) -> None:
        """Draw on dark or on white."""
        self.server.gui.configure_theme(dark_mode=dark, show_logo=False, show_share_button=False)

    def close(self) -> None:
        """End the server."""
        self._generation += 1
        if self.detail is not None:
            self.detail.close()
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def show(self, scene: Scene) -> None:
        """Show a scene in place of the one before; points and images arrive in the background."""
        content = Content(scene)
        with self._lock:
            settings = self._panel.settings if self._panel is not None else Settings()
            self._generation += 1
            generation = self._generation
            self.content, self.number = content, 0
            self._forget()
            self.server.scene.reset()
            self.server.gui.reset()
            self.server.gui.main_panel.dock_right()  # beside the points, not over them
            if self.has_folded_panel:
                self.server.gui.main_panel.minimize()
            self.server.scene.remove_click_callback()
            self.server.scene.set_up_direction(drawing.triple(content.around.up))
            self._panel = Panel(self.server, content, self, settings)
            if self.detail is not None:
                self.detail.close()
            self.detail = self._new_detail()
            for number, view in enumerate(content.views):
                self._draw_camera(content, number, view)
            self._show_cameras()
        threading.Thread(target=self._load, args=(content, generation), daemon=True).start()
        self.home(None)

    def _forget(self) -> None:
        self.cameras: dict[str, viser.CameraFrustumHandle] = {}
        self._handles: dict[str, Any] = {}
        self._marks = Marks(self.server, None)
        self._behind: viser.ImageHandle | None = None
        self._behind_view: View | None = None
        self._arrived = False

    def _draw_camera(self, content: Content, number: int, view: View) -> None:
        handle = drawing.draw_camera(self.server, content, number, view)
        self.cameras[view.frame.image] = handle
        position = next(
            (n for n, frame in enumerate(content.frames) if frame.image == view.frame.image), None
        )
        if position is not None:
            handle.on_click(lambda event: self.select(position, event.client, fly=True))

    def _load(self, content: Content, generation: int) -> None:
        """Bring in what takes longer: points level by level, the frame's picture, the rest, thumbnails.

        Another scene may be shown meanwhile; then nothing more is drawn of this one.
        """
        try:
            found: Iterator[Level] = iter(()) if content.cloud is None else levels(content.cloud)
            with self._lock:
                detail = self.detail if self._generation == generation else None
            if detail is None:
                return
            if not detail.draw(found):
                detail.close()  # no points: nobody needs to wait for them
            self.repaint()
            for what in KINDS:
                if what in self.panel.settings.shown and self._generation == generation:
                    self.set_shown(what, True)
            self._draw_thumbnails(content, generation)
            with self._lock:
                if self._generation == generation:
                    self.panel.write(content)
            detail.follow(found)
        except Exception:
            if self._generation == generation:
                logger.exception("%s could not be shown", content.title)

    def _new_detail(self) -> Detail:
        """Return the points of a scene that is about to be shown."""
        detail = Detail(self.server, self._wanted(), self._lock)
        if self.server.get_clients():
            detail.browser_came()
        if self._drawn_in_software is not None:
            detail.browser_answered()
        return detail

    def _wanted(self) -> Wanted:
        settings = self.panel.settings
        return Wanted(
            visible="object points" in settings.shown,
            budget=settings.budget,
            size_factor=settings.point_size,
        )

    def _draw_thumbnails(self, content: Content, generation: int) -> None:
        """Put the images into the cameras, one after another."""
        for image, handle in list(self.cameras.items()):
            try:
                small = thumbnail(content.scene, image)
            except FormatError as error:
                if f"images/{image}" not in content.lacking.paths:  # those are named already
                    content.note(str(error))
                continue
            with self._lock:
                if self._generation != generation:
                    return
                handle.image = small

    # --- what the controls ask for ---

    def select(self, number: int, client: viser.ClientHandle | None, *, fly: bool) -> None:
        """Show a frame by its position; fly to its camera if it has one."""
        content = self.content
        if content is None or not content.frames:
            return
        with self._lock:
            self.number = int(np.clip(number, 0, len(content.frames) - 1))
            if self.panel.frame.value != self.number + 1:
                self.panel.frame.value = self.number + 1
        self.repaint()
        view = content.view_of.get(content.frames[self.number].image)
        if fly and view is not None:
            self._put_behind(view)
            for one in self._clients(client):
                fly_to(one, view, content.around)

    def step(self, by: int, client: viser.ClientHandle | None) -> None:
        """Show the next frame or the one before."""
        if self.content is not None and self.content.frames:
            self.select(self.number + by, client, fly=self.panel.follow.value)

    def repaint(self) -> None:
        """Draw the frame's image with mask and depth as the sliders stand."""
        content = self.content
        if content is None or not content.frames:
            return
        image = content.frames[self.number].image
        for name, handle in self.cameras.items():
            handle.color = drawing.ACCENT if name == image else drawing.CAMERA
        try:
            picture = content.picture(image)
        except FormatError as error:
            self.panel.caption.content = str(error)
            if f"images/{image}" not in content.lacking.paths:
                content.note(str(error))
                self.panel.write(content)
            return
        painted = laid_over(picture, mask_opacity=self.panel.mask.value, depth_opacity=self.panel.depth.value)
        self.panel.image.image = painted
        self.panel.caption.content = content.caption(self.number)
        with self._lock:
            if self._behind is not None:
                self._behind.visible = self.panel.behind.value
                if self._behind_view is content.view_of.get(image):
                    self._behind.image = painted

    def set_shown(self, what: str, shown: bool) -> None:
        """Show or hide one kind of thing; what was never shown is made first."""
        content = self.content
        if content is None:
            return
        if what == "cameras":
            self._show_cameras()
        elif what == "object points":
            self.set_points()
        else:
            if shown and what == "mask solid":
                _ = content.solid  # takes a second: not while others wait
            with self._lock:
                if self.content is not content:
                    return
                if shown and what not in self._handles:
                    self._handles[what] = self._make(what, content)
                if self._handles.get(what) is not None:
                    self._handles[what].visible = shown

    def _show_cameras(self) -> None:
        """Show the cameras if they are wanted and the eye is in none of them."""
        shown = "cameras" in self.panel.settings.shown and self._behind is None
        for handle in self.cameras.values():
            handle.visible = shown

    def _make(self, what: str, content: Content) -> Any:
        if what == "sparse points":
            return drawing.draw_sparse(self.server, content, visible=True)
        if what == "support plane":
            return drawing.draw_plane(self.server, content, visible=True)
        if what == "axes":
            return drawing.draw_axes(self.server, content)
        if what == "arc":
            return drawing.draw_arc(self.server, content)
        return drawing.draw_solid(self.server, content) if what == "mask solid" else None

    def set_points(self) -> None:
        """Draw as many points, and as large, as the controls say."""
        if self.detail is not None:
            self.detail.want(self._wanted())

    def draws_with(self, *, software: bool) -> None:
        """Take what a browser says that it draws with; without a graphics card, fewer points are drawn."""
        with self._lock:
            first = self._drawn_in_software is None
            self._drawn_in_software = software or bool(self._drawn_in_software)
            if first and software and self._panel is not None:
                self.panel.set_budget(SOFTWARE_BUDGET)
            if self.detail is not None:
                self.detail.want(self._wanted())
                self.detail.browser_answered()

    def set_measuring(self, on: bool) -> None:
        """Let clicks mean points, or no more; the last length goes."""
        self.server.scene.remove_click_callback()
        self._marks.clear()
        if on and self.content is not None:
            self._marks = Marks(self.server, self.content)
            self.server.scene.on_click()(self._mark)

    def _mark(self, event: viser.SceneClickEvent) -> None:
        origin, direction = np.array(event.ray_origin), np.array(event.ray_direction)
        self.panel.length.content = self._marks.add(origin, direction)

    def home(self, client: viser.ClientHandle | None) -> None:
        """Look at everything."""
        if self.content is not None:
            for one in self._clients(client):
                self._hide_behind()
                self._look_at_all(one)

    def screenshot(self, client: viser.ClientHandle | None) -> None:
        """Send the browser a picture of the 3-D view."""
        if self.content is not None:
            scene = self.content.scene
            for one in self._clients(client):
                send_screenshot(one, f"{scene.class_label}_{scene.instance_id}.png")

    # --- cameras ---

    def _clients(self, client: viser.ClientHandle | None) -> list[viser.ClientHandle]:
        return [client] if client is not None else list(self.server.get_clients().values())

    def _welcome(self, client: viser.ClientHandle) -> None:
        """Let a browser that has just come, or a scene that is new to it, begin at the view of everything."""
        client.camera.on_update(self._camera_moved)
        if self.detail is not None:
            self.detail.browser_came()
        self._look_at_all(client)

    def _look_at_all(self, client: viser.ClientHandle) -> None:
        """Look at everything; beside another view, from the side that the first of the two begins at."""
        if self.content is None:
            return
        beside, leader, clients = self.beside, self.content.around, self._clients(None)
        if beside is not None and beside.content is not None:
            leader = leader if self.leads else beside.content.around
            clients += beside.server.get_clients().values()
        aspect = min(one.camera.aspect for one in (client, *clients))
        look_at_all(client, self.content.around, leader=leader, aspect=aspect)

    def eye_is_near(self, eye: Eye, tolerance: float) -> bool:
        """True when all browsers look from there already, within a share of the cameras' distance."""
        if self.content is None:
            return True
        radius = self.content.around.radius
        return all(
            np.linalg.norm(client.camera.position - eye.position) < tolerance * radius
            and np.linalg.norm(client.camera.look_at - eye.look_at) < tolerance * radius
            for client in self.server.get_clients().values()
        )

    def put_eye(self, eye: Eye) -> None:
        """Let all browsers look from there."""
        for client in self.server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = eye.up
                client.camera.position = eye.position
                client.camera.look_at = eye.look_at
                client.camera.fov = eye.fov

    def _put_behind(self, view: View) -> None:
        """Stand a frame's image behind the points, where its camera sees it."""
        content = self.content
        if content is None:
            return
        with self._lock:
            self._hide_behind()
            distance = max(2.0 * depth_of(view, content.around.centre), 0.5 * content.around.radius)
            centre, width, height = backdrop(view, distance)
            self._behind_view, self._arrived = view, False
            self._behind = self.server.scene.add_image(
                "/behind",
                self.panel.image.image,
                render_width=width,
                render_height=height,
                format="jpeg",
                wxyz=drawing.quaternion(view.cam_from_world),
                position=drawing.triple(centre),
                cast_shadow=False,
                receive_shadow=False,
                visible=self.panel.behind.value,
            )
            self._show_cameras()

    def _hide_behind(self) -> None:
        with self._lock:
            if self._behind is None:
                return
            self._behind.remove()
            self._behind = self._behind_view = None
            self._show_cameras()

    def _camera_moved(self, camera: viser.CameraHandle) -> None:
        """Take the image away when the eye leaves its camera (not while it is still on its way there)."""
        if self.on_eye is not None:
            self.on_eye(camera)
        view, content = self._behind_view, self.content
        if view is None or content is None:
            return
        distance = float(np.linalg.norm(camera.position - view.centre)) / content.around.radius
        if distance < 0.01:
            self._arrived = True
        elif distance > 0.05 and self._arrived:
            self._hide_behind()
