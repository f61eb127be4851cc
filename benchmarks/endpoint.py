"""The Endpoint's handler behind HTTP, asked as Hugging Face's Inference Toolkit asks it: for load tests and for trying out.

    python -m mvh.benchmarks.endpoint checkpoints/mvh-mini-en --port 8080
    curl localhost:8080 -H "Content-Type: application/json" -d '{"inputs": "A text ..."}'

POST / takes JSON and gives JSON, GET / says that the server lives. What the handler returns has status 200, its refusals
too; a body that is no JSON object with "inputs" has 400 and never reaches the handler. The Toolkit lets one request at a
time into the handler; here up to 40 threads enter together, which is harder and is what the handler's own limits are for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mvh.handler import EndpointHandler


def application(handler: EndpointHandler) -> Starlette:
    """The handler as an ASGI application."""

    async def predict(request: Request) -> Response:
        try:
            asked = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            return answer({"error": "The body is not JSON."}, 400)
        except ClientDisconnect:  # nobody is left to answer
            return Response(status_code=400)
        if not isinstance(asked, dict) or "inputs" not in asked:
            return answer({"error": 'The body is no JSON object with "inputs".'}, 400)
        return answer(await run_in_threadpool(handler, asked), 200)

    async def health(request: Request) -> Response:
        return PlainTextResponse("Ok")

    return Starlette(routes=[Route("/", predict, methods=["POST"]), Route("/", health, methods=["GET"])])


def answer(content: Any, status: int) -> Response:
    """JSON as the Toolkit writes it."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve on loopback until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m mvh.benchmarks.endpoint", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    args = parser.parse_args(argv)
    uvicorn.run(application(EndpointHandler(str(args.checkpoint))), host="127.0.0.1", port=args.port, access_log=False)


if __name__ == "__main__":
    main()
