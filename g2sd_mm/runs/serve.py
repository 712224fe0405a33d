"""A small web page on this machine: drop a picture, and see what each network makes of it.

Nothing that is uploaded is kept. Uploads are limited in bytes and in pixels, pictures are predicted
one at a time, and requests that name another host than the page's own are refused, so that no other
web page can reach it through a name of its own.
"""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import mmcv
from PIL import Image as pillow

from ..errors import UserError
from ..students.student import Student, check_options
from ..text import one_line

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PIXELS = 50_000_000  # of a picture; more would take gigabytes
_WAITING = 16  # requests that may wait for their turn
_DRAINED = 8  # limits' worth of a too large upload that are read, so that a browser hears of it
_SIDE = 1024  # px of a picture that is sent back
_LOCAL = ('127.0.0.1', 'localhost', '[::1]', '::1')
_HEADERS = {
    'Content-Security-Policy': "default-src 'none'; img-src data: blob:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'",
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
}


def answer(
    networks: Mapping[str, Student], content: bytes, threshold: float = 0.3
) -> list[dict[str, Any]]:
    """What each network predicts on a picture.

    Args:
        networks: by their headings.
        content: of an image file.
        threshold: least score of a box.

    Returns:
        for each ``name``, ``milliseconds``, ``picture`` (a data URL) and ``rows`` of text.

    Raises:
        UserError: if it is no image, or has too many pixels.
    """
    width, height = _size(content)
    if width * height > PIXELS:
        raise _TooLarge(
            f'this picture has {width} x {height} pixels, more than {PIXELS // 10**6} million'
        )
    shown = []
    for name, student in networks.items():
        started = time.perf_counter()
        sample = student.sample(content)
        seconds = time.perf_counter() - started
        drawn = student.draw(student.picture(content), sample, threshold=threshold)
        shown.append(
            {
                'name': name,
                'milliseconds': round(1000 * seconds, 1),
                'picture': _data_url(drawn),
                'rows': _rows(student.plain(sample, threshold)),
            }
        )
    return shown


class _TooLarge(UserError):
    """A file or a picture beyond the limits."""


def _size(content: bytes) -> tuple[int, int]:
    """As the header says; nothing is decoded. (0, 0) if it cannot be told: the decoder will say."""
    try:
        with pillow.open(io.BytesIO(content)) as picture:
            return picture.size
    except pillow.DecompressionBombError as error:  # pillow has a limit of its own, above ours
        raise _TooLarge(f'this picture has more than {PIXELS // 10**6} million pixels') from error
    except Exception:
        return 0, 0


def _data_url(picture: Any) -> str:
    scale = _SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode('.jpg', mmcv.rgb2bgr(picture))
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'


def _rows(plain: Mapping[str, Any]) -> list[list[str]]:
    if 'instances' in plain:
        found = plain['instances']
        return [[one['class'], f'{one["score"]:.2f}'] for one in found] or [['nothing found', '']]
    ((kind, values),) = plain.items()
    unit, factor = (' m', 1) if kind == 'depth' else (' %', 100)
    if not isinstance(values, Mapping):
        return [[kind, str(values)]]
    return [[name, f'{factor * value:.4g}{unit}'] for name, value in values.items()]


def application(
    networks: Mapping[str, Student],
    *,
    max_bytes: int = 20 * 2**20,
    threshold: float = 0.3,
    hosts: tuple[str, ...] = _LOCAL,
) -> Starlette:
    """The page at ``/``, and ``POST /predict`` with an image file as the body.

    Args:
        networks: by their headings, from left to right.
        max_bytes: of a file.
        threshold: least score of a box.
        hosts: what requests may call this machine; ``*`` for anything.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    page = (Path(__file__).with_name('serve.html').read_text(encoding='utf-8')).replace(
        '{{max_bytes}}', str(max_bytes)
    )
    turn, waiting = asyncio.Lock(), 0

    async def index(request: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    async def predict(request: Request) -> Response:
        nonlocal waiting
        if waiting >= _WAITING:
            return refusal(503, 'busy: try again in a moment')
        if request.headers.get('content-type', '').startswith('multipart/'):  # of forms, curl -F
            return refusal(
                415, 'the body has to be the image file itself (curl --data-binary @FILE), and '
                'not a form with it',
            )  # fmt: skip
        waiting += 1
        try:
            content = await _body(request, max_bytes)
            async with turn:
                shown = await run_in_threadpool(answer, networks, content, threshold)
        except _TooLarge as error:
            return refusal(413, str(error))
        except UserError as error:
            return refusal(415, one_line(error))
        except ClientDisconnect:  # the page was closed, or another picture was dropped
            return refusal(400, 'the upload ended too early')
        finally:
            waiting -= 1
        return JSONResponse({'results': shown}, headers=_HEADERS)

    def refusal(code: int, text: str) -> Response:
        return JSONResponse({'error': text}, code, headers=_HEADERS)

    return Starlette(
        routes=[Route('/', index), Route('/predict', predict, methods=['POST'])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


async def _body(request: Request, most: int) -> bytes:
    content, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            content += part
        elif size > _DRAINED * most:
            break
    if size > most:
        raise _TooLarge(f'this file is larger than {most / 2**20:.3g} MB')
    return bytes(content)


def serve(
    networks: Mapping[str, Student],
    host: str = '127.0.0.1',
    port: int = 8000,
    max_bytes: int = 20 * 2**20,
    threshold: float = 0.3,
) -> None:
    """Serve the page until Ctrl-C; its address is printed first.

    Args:
        networks: by their headings, of one task.
        host: address of this machine to listen at; ``0.0.0.0`` for all.
        port: 0 for any that is free.
        max_bytes: of a file.
        threshold: least score of a box.

    Raises:
        UserError: if the packages of the extra ``serve`` are missing, the networks are of several
            tasks, or nothing can listen there.
    """
    try:
        import uvicorn
        from starlette.applications import Starlette  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'the page needs {error.name}: pip install "g2sd_mm[serve]", or starlette and uvicorn'
        ) from error
    check_options(threshold)
    tasks = {name: student.task for name, student in networks.items()}
    if len(set(tasks.values())) > 1:
        said = ', '.join(f'{name} is for {task}' for name, task in tasks.items())
        raise UserError(f'only networks for one task can stand side by side: {said}')
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(f'nothing can listen at {host}, port {port}: {error}') from error
    open_to_all = host not in _LOCAL
    app = application(
        networks, max_bytes=max_bytes, threshold=threshold, hosts=('*',) if open_to_all else _LOCAL
    )
    shown = f'[{host}]' if family == socket.AF_INET6 else host
    print(f'http://{shown}:{listening.getsockname()[1]}', flush=True)
    if open_to_all:
        print('everybody who reaches this machine can use the page; there is no password')
    with listening:
        uvicorn.Server(uvicorn.Config(app, log_level='warning')).run(sockets=[listening])
