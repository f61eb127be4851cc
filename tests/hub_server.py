"""A small Hub over HTTP: repositories with commits, LFS, private ones, tokens, and failures on request.

It answers what huggingface_hub, transformers and datasets ask for, and keeps everything in memory. It is no copy of the
real Hub: quotas, xet, pull requests and the server's own validation are not there.

    with LocalHub() as hub:
        hub.connect(monkeypatch)        # this process talks to it
        hub.environment(tmp_path)       # what another process needs to talk to it
        hub.repos["models", "me/x"].commits[-1].files
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from huggingface_hub import constants

WRITER = "writer-of-the-local-hub"  # the token of the user "me"
LFS_SUFFIXES = (".safetensors", ".npz", ".parquet", ".model")
DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Commit:
    """A state of a repository: path -> SHA-256 of the content."""

    oid: str
    files: dict[str, str]
    message: str = ""


@dataclass
class Repo:
    private: bool = False
    commits: list[Commit] = field(default_factory=list)

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit.oid == revision), None)


class LocalHub:
    """The server's state; use it as a context.

    Attributes:
        repos: (kind, name) -> repository, kind being "models" or "datasets".
        blobs: SHA-256 -> content.
        requests: (method, path) of every request, in order.
        fails: Called with method and path; where it says so, the connection is cut before an answer.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.fails: Callable[[str, str], bool] = lambda method, path: False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def connect(self, monkeypatch: Any) -> None:
        """Make this process, which is offline in tests, talk to this Hub as the user "me"."""
        files = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (("ENDPOINT", self.url), ("HUGGINGFACE_CO_URL_TEMPLATE", files)):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its own retries

    def environment(self, home: Any, token: str | None = WRITER) -> dict[str, str]:
        """Variables for a process that shall know this Hub and no other; `home` is its cache."""
        own = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}
        return own | {"HF_TOKEN": token or ""}

    def store(self, content: bytes) -> str:
        oid = hashlib.sha256(content).hexdigest()
        self.blobs[oid] = content
        return oid

    def content(self, kind: str, name: str, path: str) -> bytes:
        """A file as the newest commit has it."""
        return self.blobs[self.repos[kind, name].commits[-1].files[path]]


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > 10_000_000


ROUTES = [  # (method, pattern, name of the method that answers); R is a repository
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?", "info"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/refs", "refs"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "put"),
    ("POST", r"/lfs/verify", "verify"),
    ("GET", r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        path = self.path.split("?")[0]
        self.hub.requests.append((self.command, path))
        if self.hub.fails(self.command, path):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, name in ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, path)):
                found = match.groupdict()
                if "kind" in found:
                    found["kind"] = found["kind"] or "models"
                if name in ("create", "whoami") and self._user() is None:
                    return self._error(401, "Unauthorized", "Invalid username or password.")
                if "name" in found and not self._may_see(found["kind"], found["name"]):
                    return self._error(401 if self._user() is None else 404, "RepoNotFound", "Repository not found")
                return getattr(self, name)(body, **found)
        return self._error(404, "NotFound", "Not found")

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _user(self) -> str | None:
        return "me" if self.headers.get("Authorization") == f"Bearer {WRITER}" else None

    def _may_see(self, kind: str, name: str) -> bool:
        repo = self.hub.repos.get((kind, name))
        return repo is not None and (not repo.private or self._user() is not None)

    def _send(self, status: int, content: bytes, **headers: Any) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, kind: str = "application/json") -> None:
        self._send(200, json.dumps(content).encode(), Content_Type=kind)

    def _error(self, status: int, code: str, message: str, **more: str) -> None:
        body = json.dumps({"error": message, **more}).encode()
        self._send(status, body, X_Error_Code=code, X_Error_Message=message, Content_Type="application/json")

    # --- what is asked ---

    def whoami(self, body: bytes) -> None:
        self._json({"type": "user", "name": "me", "fullname": "Me", "orgs": [], "auth": {"type": "access_token"}})

    def validate(self, body: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        if asked.get("organization") not in (None, "me"):
            return self._error(403, "Forbidden", "You may not create a repository there")
        kind, name = asked.get("type", "model") + "s", f"me/{asked['name']}"
        place = f"{self.hub.url}/{name}" if kind == "models" else f"{self.hub.url}/{kind}/{name}"
        if (kind, name) in self.hub.repos:
            return self._error(409, "Conflict", "You already created this repo", url=place)
        first = {".gitattributes": self.hub.store(b"*.safetensors filter=lfs\n")}
        private = asked.get("visibility") == "private" or bool(asked.get("private"))  # older clients say the second
        repo = Repo(private, [Commit(self._oid(first, ""), first, "initial commit")])
        self.hub.repos[kind, name] = repo
        return self._json({"url": place, "name": name, "id": name})

    def _oid(self, files: dict[str, str], parent: str) -> str:
        return hashlib.sha1(json.dumps([files, parent], sort_keys=True).encode()).hexdigest()

    def info(self, body: bytes, kind: str, name: str, revision: str | None) -> None:
        repo = self.hub.repos[kind, name]
        if (commit := repo.at(revision or "main")) is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        said = {"id": name, "modelId": name, "sha": commit.oid, "private": repo.private, "gated": False}
        said |= {"disabled": False, "tags": [], "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE}
        return self._json(said | {"siblings": [{"rfilename": path} for path in sorted(commit.files)]})

    def refs(self, body: bytes, kind: str, name: str) -> None:
        head = self.hub.repos[kind, name].commits[-1].oid
        self._json({"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": head}], "tags": []})

    def _entry(self, path: str, oid: str) -> dict[str, Any]:
        size = len(self.hub.blobs[oid])
        lfs = {"lfs": {"oid": oid, "size": size, "pointerSize": 130}} if is_lfs(path, size) else {}
        return {"type": "file", "oid": oid[:40], "size": size, "path": path, **lfs}

    def _under(self, files: dict[str, str], path: str, recursive: bool) -> list[dict[str, Any]]:
        start = f"{path}/" if path else ""
        inside = {name: oid for name, oid in files.items() if name.startswith(start)}
        folders = {start + name[len(start) :].split("/")[0] for name in inside if "/" in name[len(start) :]}
        if recursive:
            folders |= {name.rpartition("/")[0] for name in inside if "/" in name[len(start) :]}
        else:
            inside = {name: oid for name, oid in inside.items() if "/" not in name[len(start) :]}
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in sorted(folders)]
        return entries + [self._entry(name, oid) for name, oid in sorted(inside.items())]

    def tree(self, body: bytes, kind: str, name: str, revision: str, path: str | None) -> None:
        commit = self.hub.repos[kind, name].at(revision)
        if commit is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        entries = self._under(commit.files, path or "", "recursive=true" in self.path.lower())
        if path and not entries:
            return self._error(404, "EntryNotFound", "Entry not found")
        return self._json(entries)

    def paths_info(self, body: bytes, kind: str, name: str, revision: str) -> None:
        commit = self.hub.repos[kind, name].at(revision)
        if commit is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        paths = json.loads(body)["paths"]
        folders = [{"type": "directory", "oid": "0" * 40, "path": path} for path in paths if path not in commit.files]
        known = [folder for folder in folders if any(file.startswith(folder["path"] + "/") for file in commit.files)]
        return self._json(known + [self._entry(path, commit.files[path]) for path in paths if path in commit.files])

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if self._user() is None:
            return self._error(403, "Forbidden", "This token may not write")
        newest, files = self.hub.repos[kind, name].commits[-1].files, []
        for file in json.loads(body)["files"]:
            mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
            files[-1]["oid"] = newest.get(file["path"], "")[:40] or None
        return self._json({"files": files})

    def batch(self, body: bytes, kind: str, name: str) -> None:
        objects = []
        for wanted in json.loads(body)["objects"]:
            actions = {
                "upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}", "header": {}},
                "verify": {"href": f"{self.hub.url}/lfs/verify", "header": {}},
            }
            known = wanted["oid"] in self.hub.blobs
            objects.append({**wanted, "authenticated": True, **({} if known else {"actions": actions})})
        self._json({"transfer": "basic", "objects": objects}, "application/vnd.git-lfs+json")

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(400, "BadRequest", "The content is not what its hash says")
        self.hub.blobs[oid] = body
        return self._send(200, b"")

    def verify(self, body: bytes) -> None:
        if json.loads(body)["oid"] in self.hub.blobs:
            self._json({})
        else:
            self._error(404, "NotFound", "No such object")

    def commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if self._user() is None:
            return self._error(403, "Forbidden", "This token may not write")
        repo = self.hub.repos[kind, name]
        files, message = dict(repo.commits[-1].files), ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = self.hub.store(base64.b64decode(value["content"]))
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    return self._error(400, "BadRequest", f"{value['path']} was never uploaded")
                files[value["path"]] = value["oid"]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        repo.commits.append(Commit(self._oid(files, repo.commits[-1].oid), files, message))
        oid = repo.commits[-1].oid
        place = name if kind == "models" else f"{kind}/{name}"
        return self._json({"commitUrl": f"{self.hub.url}/{place}/commit/{oid}", "commitOid": oid, "hookOutput": ""})

    def resolve(self, body: bytes, kind: str, name: str, revision: str, path: str) -> None:
        commit = self.hub.repos[kind, name].at(revision)
        if commit is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        if path not in commit.files:
            return self._error(404, "EntryNotFound", "Entry not found")
        oid = commit.files[path]
        content = self.hub.blobs[oid]
        headers = {"X_Repo_Commit": commit.oid, "ETag": f'"{oid}"', "Accept_Ranges": "bytes"}
        if is_lfs(path, len(content)):
            headers |= {"X_Linked_Etag": f'"{oid}"', "X_Linked_Size": str(len(content))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self._send(200, content, **headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._send(206, content[first : last + 1], **headers)
