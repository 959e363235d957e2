"""A loopback Hub for tests: commits, LFS, tokens, the Hub's errors, injected faults. See README.md.

    with HubServer(tmp_path) as hub:
        hub.endpoint, hub.log, hub.fault("PUT /s3/", "drop", after_bytes=10**6)

or `python hub_server.py --root DIR`, which prints HF_ENDPOINT=http://127.0.0.1:PORT. hub_extras.py
adds branches, tags, pull requests, settings and Xet.
"""

import argparse
import base64
import contextlib
import fnmatch
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import struct
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKENS = {
    "hf_alice_write": {"user": "alice", "role": "write", "orgs": ["acme"]},
    "hf_alice_read": {"user": "alice", "role": "read", "orgs": ["acme"]},
    "hf_bob_write": {"user": "bob", "role": "write", "orgs": []},
}
REGULAR_MAX = 10_000_000  # a bigger file must go through LFS, as on the Hub
LFS_PATTERNS = [
    "*.7z",
    "*.arrow",
    "*.bin",
    "*.bz2",
    "*.ckpt",
    "*.ftz",
    "*.gz",
    "*.h5",
    "*.joblib",
    "*.lfs.*",
    "*.mlmodel",
    "*.model",
    "*.msgpack",
    "*.npy",
    "*.npz",
    "*.onnx",
    "*.ot",
    "*.parquet",
    "*.pb",
    "*.pickle",
    "*.pkl",
    "*.pt",
    "*.pth",
    "*.rar",
    "*.safetensors",
    "saved_model/**/*",
    "*.tar.*",
    "*.tar",
    "*.tflite",
    "*.tgz",
    "*.wasm",
    "*.xz",
    "*.zip",
    "*.zst",
    "*tfevents*",
]
GITATTRIBUTES = "".join(f"{p} filter=lfs diff=lfs merge=lfs -text\n" for p in LFS_PATTERNS).encode()
NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?")
REPO = r"(?P<repo>[^/]+/[^/]+|[^/]+)"
API = rf"/api/(?P<kind>models|datasets|spaces)/{REPO}"
WEB = rf"/(?:(?P<kind>datasets|spaces)/)?{REPO}"
ROUTES: list = []


class HubError(Exception):
    def __init__(self, status, message, code=None, headers=(), **extra):
        self.status, self.body = status, {"error": message, **extra}
        self.headers = {
            "X-Error-Message": message,
            **({"X-Error-Code": code} if code else {}),
            **dict(headers),
        }


class Aborted(Exception):  # noqa: N818
    """The connection was cut on purpose by an injected fault."""


def route(methods, pattern):
    return lambda fn: ROUTES.append((methods.split(), re.compile(pattern), fn)) or fn


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def git_oid(kind, data):
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def pointer(sha256, size):
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    )


def front_matter(text):
    """Metadata block of a model card -> (dict, list of errors)."""
    import yaml

    match = re.match(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*$", text, re.S | re.M)
    try:
        data = (yaml.safe_load(match[1]) if match else None) or {}
    except yaml.YAMLError as err:
        return {}, ["YAML: " + str(err).replace("\n", " ")]
    if not isinstance(data, dict):
        return {}, ['"metadata" must be an object']
    texts = {k: [data[k]] for k in ("pipeline_tag", "library_name") if k in data}
    texts |= {
        k: data[k] if isinstance(data[k], list) else [data[k]]
        for k in ("tags", "datasets", "metrics", "language", "license")
        if data.get(k)
    }
    return data, [
        f'"{k}" must hold strings'
        for k, v in texts.items()
        if not all(isinstance(x, str) for x in v)
    ]


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128


class HubServer:
    def __init__(self, root, port=0, tokens=None, log_file=None):
        self.root, self.lock, self.secret = Path(root), threading.RLock(), secrets.token_bytes(16)
        self.tokens, self.log_file, self.log, self.faults = dict(tokens or TOKENS), log_file, [], []
        for name in ("repos", "blobs", "lfs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        stored = [json.loads(p.read_text()) for p in self.root.glob("repos/*.json")]
        self.repos = {(repo["type"], repo["id"]): repo for repo in stored}
        # Two origins, as on the real Hub: the API, and a "bucket" that must never see the token.
        self.servers = [Server(("127.0.0.1", p), Handler) for p in (port, 0)]
        for server in self.servers:
            server.hub = self
        self.endpoint, self.cdn = (f"http://127.0.0.1:{s.server_address[1]}" for s in self.servers)

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fault(
        self,
        match,
        action="status",
        times=1,
        skip=0,
        status=503,
        after_bytes=None,
        delay=0,
        bps=0,
        headers=(),
    ):
        """Make the next `times` requests that match ('METHOD /path') go wrong; -1 means all."""
        self.faults.append(
            {
                "match": match,
                "action": action,
                "times": times,
                "skip": skip,
                "status": status,
                "hits": 0,
                "delay": delay,
                "after_bytes": after_bytes,
                "bps": bps,
                "headers": dict(headers),
            }
        )

    def take_fault(self, what):
        with self.lock:
            for f in self.faults:
                if f["times"] != f["hits"] and re.search(f["match"], what):
                    f["skip"] -= 1
                    if f["skip"] < 0:
                        f["hits"] += 1
                        return f
        return {"action": None, "bps": 0, "delay": 0}

    def repo_file(self, repo):
        return self.root / "repos" / f"{repo['type']}--{repo['id'].replace('/', '--')}.json"

    def save(self, repo):
        path = self.repo_file(repo)
        with self.lock:
            path.with_suffix(".tmp").write_text(json.dumps(repo))
            path.with_suffix(".tmp").replace(path)

    def blob(self, data):
        entry = {"oid": git_oid("blob", data), "size": len(data), "lfs": None}
        (self.root / "blobs" / entry["oid"]).write_bytes(data)
        return entry

    def file(self, entry):
        return self.root / ("lfs" if entry["lfs"] else "blobs") / (entry["lfs"] or entry["oid"])

    def url(self, repo):
        kind = "" if repo["type"] == "model" else f"/{repo['type']}s"
        return f"{self.endpoint}{kind}/{repo['id']}"

    def sign(self, what):
        return hmac.new(self.secret, what.encode(), "sha256").hexdigest()[:32]

    def rev(self, repo, rev):
        """Branch, tag, full ref or (short) commit id -> (commit id, commit)."""
        hits = [
            repo["refs"][r]
            for r in (f"refs/heads/{rev}", f"refs/tags/{rev}", rev)
            if r in repo["refs"]
        ]
        hits = hits or [c for c in repo["commits"] if len(rev) >= 7 and c.startswith(rev)]
        if not hits:
            raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return hits[0], repo["commits"][hits[0]]

    def commit(self, repo, ref, files, title, message, author, parent=None):
        date, tree = now(), hashlib.sha1(json.dumps(files, sort_keys=True).encode()).hexdigest()
        header = f"tree {tree}\nparent {parent}\nauthor {author} {time.time_ns()}"
        text = f"{header}\n\n{title}\n\n{message}"
        sha = git_oid("commit", text.encode())
        repo["commits"][sha] = {
            "parent": parent,
            "title": title,
            "message": message,
            "author": author,
            "date": date,
            "files": files,
        }
        repo["refs"][ref] = sha
        self.save(repo)
        return sha

    def info(self, repo, rev="main", blobs=False):
        sha, commit = self.rev(repo, rev)
        files, card, config = commit["files"], {}, {}
        if "README.md" in files:
            card = front_matter(self.file(files["README.md"]).read_text("utf-8", "replace"))[0]
        if "config.json" in files:
            # The Hub stores a broken config.json without a word, too.
            with contextlib.suppress(ValueError):
                config = json.loads(self.file(files["config.json"]).read_bytes())
        tags = [
            *(card.get("tags") or []),
            *(["safetensors"] if any(f.endswith(".safetensors") for f in files) else []),
            *(["custom_code"] if "auto_map" in config else []),
        ]
        return {
            "_id": git_oid("blob", repo["id"].encode())[:24],
            "id": repo["id"],
            "modelId": repo["id"],
            "sha": sha,
            "author": repo["id"].split("/")[0],
            "lastModified": commit["date"],
            "createdAt": repo["created"],
            "private": repo["private"],
            "gated": repo["gated"],
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(dict.fromkeys(tags)),
            "library_name": card.get("library_name"),
            "cardData": card or None,
            "pipeline_tag": card.get("pipeline_tag"),
            "usedStorage": sum(e["size"] for e in files.values()),
            "config": {
                k: config[k] for k in ("architectures", "model_type", "auto_map") if k in config
            },
            "siblings": [
                {"rfilename": p, **(self.row(p, e, True) if blobs else {})}
                for p, e in sorted(files.items())
            ],
        }

    def row(self, path, e, blobs=False):
        lfs = e["lfs"] and {
            "sha256" if blobs else "oid": e["lfs"],
            "size": e["size"],
            "pointerSize": len(pointer(e["lfs"], e["size"])),
        }
        head = {"blobId": e["oid"]} if blobs else {"type": "file", "path": path, "oid": e["oid"]}
        xet = {"xetHash": e["xet"]} if e.get("xet") else {}
        return {**head, "size": e["size"], **({"lfs": lfs} if lfs else {}), **xet}

    def listing(self, commit, top="", recursive=True):
        files, top = commit["files"], top + "/" if top else ""
        folders = {"/".join(p.split("/")[:i]) for p in files for i in range(1, p.count("/") + 1)}
        if top and top[:-1] not in folders:
            raise HubError(404, f"{top[:-1]} does not exist", "EntryNotFound")
        rows = [
            {"type": "directory", "path": p, "size": 0, "oid": git_oid("tree", p.encode())}
            for p in folders
        ]
        rows = sorted(rows + [self.row(p, e) for p, e in files.items()], key=lambda r: r["path"])
        return [
            r
            for r in rows
            if r["path"].startswith(top) and (recursive or "/" not in r["path"][len(top) :])
        ]


class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def handle_any(self):
        hub, started, url = self.server.hub, time.time(), urlsplit(self.path)
        self.hub, self.query = (
            hub,
            {k: v[-1] for k, v in parse_qs(url.query, keep_blank_values=True).items()},
        )
        self.status, self.user, self.role, self.orgs, self.bytes_in = None, None, None, [], 0
        self.unread = int(
            self.headers.get("Content-Length")
            or (-1 if self.headers.get("Transfer-Encoding") else 0)
        )
        self.fault = hub.take_fault(
            "/_admin" if url.path.startswith("/_admin/") else f"{self.command} {url.path}"
        )
        try:
            time.sleep(self.fault["delay"])
            if self.fault["action"] == "drop" and self.fault["after_bytes"] == 0:
                self.abort()
            self.answer(url.path)
        except (Aborted, OSError):
            self.status, self.close_connection = "dropped", True
        row = {
            "t": round(started, 3),
            "s": round(time.time() - started, 3),
            "method": self.command,
            "path": self.path,
            "status": self.status,
            "user": self.user,
            "bytes_in": self.bytes_in,
            "fault": self.fault["action"],
            "origin": ("hub", "cdn")[self.server is hub.servers[1]],
            "auth": "Authorization" in self.headers,
        }
        if not url.path.startswith("/_admin/"):
            hub.log.append(row)
            if hub.log_file:
                with Path(hub.log_file).open("a") as out:
                    out.write(json.dumps(row) + "\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def answer(self, path):
        try:
            if self.fault["action"] == "status":
                raise HubError(
                    self.fault["status"], "injected fault", headers=self.fault["headers"]
                )
            for methods, pattern, fn in ROUTES:
                match = self.command in methods and pattern.fullmatch(path)
                if match:
                    self.authenticate()
                    return fn(self, **{k: v and unquote(v) for k, v in match.groupdict().items()})
            raise HubError(501, f"loopback hub: {self.command} {path} is not implemented")
        except HubError as err:
            self.reply(err.status, err.body, err.headers)
        except (Aborted, OSError):
            raise
        except (
            Exception
        ) as err:  # a malformed request, or a bug here: be loud, do not leave the client hanging
            self.reply(500, {"error": f"loopback hub failed: {err!r}"})

    def log_message(self, *args):
        pass

    def abort(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()  # linger 0: the peer sees a reset
        raise Aborted

    def chunks(self):
        """Gives the request body piece by piece, with the injected cut or throttle."""
        cut = self.fault["after_bytes"] if self.fault["action"] == "drop" else None
        while self.unread:
            chunked = self.unread < 0
            left = last = int(self.rfile.readline().split(b";")[0], 16) if chunked else self.unread
            while left:
                data = self.rfile.read(min(left, 65536))
                if not data:
                    raise OSError("client went away")
                left, self.bytes_in = left - len(data), self.bytes_in + len(data)
                if cut and self.bytes_in >= cut:
                    self.abort()
                time.sleep(len(data) / self.fault["bps"] if self.fault["bps"] else 0)
                yield data
            if chunked:
                self.rfile.readline()
            self.unread = -1 if chunked and last else 0

    def json(self):
        return json.loads(b"".join(self.chunks()) or b"{}")

    def reply(self, status, data=b"", headers=(), path=None, span=None):
        for _ in self.chunks():  # never leave a half-read body on a kept-alive connection
            pass
        if self.fault["action"] == "drop":
            self.abort()  # the request was carried out, its answer is lost
        if isinstance(data, (dict, list)):
            data, headers = (
                json.dumps(data).encode(),
                {"Content-Type": "application/json", **dict(headers)},
            )
        (start, length), self.status = span or (0, len(data)), status
        self.send_response(status)
        headers = {
            "Content-Length": length,
            "X-Request-Id": f"loop-{len(self.hub.log)}",
            **dict(headers),
        }
        for key, value in headers.items():
            self.send_header(key, " ".join(str(value).split()).encode("ascii", "replace").decode())
        self.end_headers()
        cut = (
            min(length, self.fault["after_bytes"]) if self.fault["action"] == "truncate" else length
        )
        with Path(path or os.devnull).open("rb") as source:
            source.seek(start)
            for at in range(0, cut if self.command != "HEAD" else 0, 65536):
                piece = (source.read(65536) if path else data[at : at + 65536])[: cut - at]
                self.wfile.write(piece)
                time.sleep(len(piece) / self.fault["bps"] if self.fault["bps"] else 0)
        if cut < length:
            raise Aborted

    def send_file(self, path, headers):
        size, want = (
            path.stat().st_size,
            re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")),
        )
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
        if not want:
            return self.reply(200, b"", headers, path, (0, size))
        start = int(want[1]) if want[1] else max(0, size - int(want[2] or 0))
        end = min(int(want[2]), size - 1) if want[1] and want[2] else size - 1
        if start > end:
            return self.reply(416, b"", {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        self.reply(206, b"", headers, path, (start, end + 1 - start))
        return None

    def authenticate(self):
        token = self.headers.get("Authorization")
        if token and self.server is self.hub.servers[0]:
            known = self.hub.tokens.get(token.removeprefix("Bearer ").strip())
            if not known:
                raise HubError(401, "Invalid credentials in Authorization header")
            self.user, self.role, self.orgs = known["user"], known["role"], known.get("orgs", [])

    def owns(self, repo_id):
        return bool(self.user) and repo_id.split("/")[0] in [self.user, *self.orgs]

    def must_write(self, repo_id, what):
        if not self.user:
            raise HubError(401, "Invalid username or password.")
        if self.role != "write" or not self.owns(repo_id):
            raise HubError(
                403,
                f"You don't have the rights to {what} (user '{self.user}', role '{self.role}')",
            )

    def repo(self, kind, repo, write=False, content=False):
        found = self.hub.repos.get(((kind or "models").rstrip("s"), repo))
        if found is None or (found["private"] and not self.owns(repo)):
            raise HubError(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if content and found["gated"] and not self.owns(repo):
            raise HubError(
                403 if self.user else 401,
                f"Access to model {repo} is restricted and you are not in the "
                "authorized list. Visit the repository page to ask for access.",
                "GatedRepo",
            )
        if write:
            self.must_write(repo, f"write to {repo}")
        return found

    # The API
    @route("GET", "/api/whoami-v2")
    def whoami(self):
        if not self.user:
            raise HubError(401, "Invalid username or password.")
        self.reply(
            200,
            {
                "type": "user",
                "id": self.user,
                "name": self.user,
                "fullname": self.user,
                "isPro": False,
                "orgs": [{"type": "org", "name": o, "roleInOrg": "admin"} for o in self.orgs],
                "auth": {
                    "type": "access_token",
                    "accessToken": {"displayName": "test", "role": self.role},
                },
            },
        )

    @route("POST", "/api/repos/create")
    def create_repo(self):
        ask = self.json()
        repo = {
            "type": ask.get("type") or "model",
            "id": f"{ask.get('organization') or self.user}/{ask['name']}",
            "private": ask.get("visibility") == "private" or bool(ask.get("private")),
            "gated": False,
            "created": now(),
            "refs": {},
            "commits": {},
            "threads": [],
        }
        url = self.hub.url(repo)
        self.must_write(
            repo["id"], f'create a {repo["type"]} under the namespace "{repo["id"].split("/")[0]}"'
        )
        if not NAME.fullmatch(ask["name"]):
            raise HubError(400, f"Invalid repo name: {repo['id']}")
        with self.hub.lock:
            if self.hub.repos.setdefault((repo["type"], repo["id"]), repo) is not repo:
                raise HubError(
                    409, f"You already created this {repo['type']} repo: {repo['id']}", url=url
                )
            first = {".gitattributes": self.hub.blob(GITATTRIBUTES)}
            self.hub.commit(repo, "refs/heads/main", first, "initial commit", "", self.user)
        self.reply(200, {"url": url, "name": repo["id"], "id": repo["id"]})

    @route("DELETE", "/api/repos/delete")
    def delete_repo(self):
        ask = self.json()
        repo = self.repo(
            ask.get("type"), f"{ask.get('organization') or self.user}/{ask['name']}", write=True
        )
        del self.hub.repos[repo["type"], repo["id"]]
        self.hub.repo_file(repo).unlink()
        self.reply(200)

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        data, errors = front_matter(self.json()["content"])
        empty = (
            [] if data or errors else [{"message": "empty or missing yaml metadata in repo card"}]
        )
        self.reply(
            400 if errors else 200, {"errors": [{"message": e} for e in errors], "warnings": empty}
        )

    @route("GET", API + "(?:/revision/(?P<rev>[^/]+))?")
    def repo_info(self, kind, repo, rev):
        blobs = self.query.get("blobs", "").lower() in ("1", "true")
        self.reply(200, self.hub.info(self.repo(kind, repo), rev or "main", blobs))

    @route("GET", API + "/tree/(?P<rev>[^/]+)(?:/(?P<path>.+))?")
    def tree(self, kind, repo, rev, path):
        commit = self.hub.rev(self.repo(kind, repo), rev)[1]
        self.reply(
            200,
            self.hub.listing(
                commit, path or "", self.query.get("recursive", "").lower() in ("1", "true")
            ),
        )

    @route("GET", API + "/commits/(?P<rev>[^/]+)")
    def commits(self, kind, repo, rev):
        repo, rows = self.repo(kind, repo), []
        sha = self.hub.rev(repo, rev)[0]
        while sha:
            c = repo["commits"][sha]
            rows.append(
                {
                    "id": sha,
                    "authors": [{"user": c["author"]}],
                    **{k: c[k] for k in ("title", "message", "date", "parent")},
                }
            )
            sha = c["parent"]
        self.reply(200, rows)

    @route("GET HEAD", WEB + "/(?:resolve|raw)/(?P<rev>[^/]+)/(?P<path>.+)")
    def resolve(self, kind, repo, rev, path):
        sha, commit = self.hub.rev(self.repo(kind, repo, content=True), rev)
        e = commit["files"].get(path)
        if not e:
            raise HubError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": sha})
        if not e["lfs"]:
            return self.send_file(self.hub.file(e), {"X-Repo-Commit": sha, "ETag": f'"{e["oid"]}"'})
        xet = (
            {
                "X-Xet-Hash": e["xet"],
                "X-Xet-Refresh-Route": f"{self.hub.endpoint}/api/{kind or 'models'}/{repo}"
                f"/xet-read-token/{sha}",
            }
            if e.get("xet")
            else {}
        )
        self.reply(
            302,
            b"",
            {
                "Location": f"{self.hub.cdn}/s3/{e['lfs']}?sig={self.hub.sign('get' + e['lfs'])}",
                **xet,
                "X-Repo-Commit": sha,
                "X-Linked-Size": e["size"],
                "X-Linked-ETag": f'"{e["lfs"]}"',
            },
        )
        return None

    @route("POST", API + "/preupload/(?P<rev>[^/]+)")
    def preupload(self, kind, repo, rev):
        files, ask = self.hub.rev(self.repo(kind, repo, write=True), rev)[1]["files"], self.json()
        lines = [x.strip().rstrip("/") for x in ask.get("gitIgnore", "").splitlines()]
        ignore, out = [x for x in lines if x and x[0] != "#"], []
        for f in ask["files"]:
            parts, old, binary = (
                f["path"].split("/"),
                files.get(f["path"]),
                b"\0" in base64.b64decode(f["sample"]),
            )
            lfs = (
                binary
                or f["size"] > REGULAR_MAX
                or any(fnmatch.fnmatch(parts[-1], p) for p in LFS_PATTERNS)
            )
            out.append(
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "oid": old and (old["lfs"] or old["oid"]),
                    "shouldIgnore": any(fnmatch.fnmatch(x, p) for p in ignore for x in parts),
                }
            )
        self.reply(200, {"files": out})

    @route("POST", WEB + r"\.git/info/lfs/objects/batch")
    def lfs_batch(self, kind, repo):
        self.repo(kind, repo, write=True)
        objects = self.json()["objects"]
        for o in objects:
            if not re.fullmatch("[0-9a-f]{64}", o["oid"]):
                raise HubError(422, "oid is not a sha256")
            if not (self.hub.root / "lfs" / o["oid"]).exists():
                sig = self.hub.sign("put" + o["oid"])
                o["actions"] = {"upload": {"href": f"{self.hub.cdn}/s3/{o['oid']}?sig={sig}"}}
        self.reply(200, {"transfer": "basic", "objects": objects})

    @route("GET HEAD PUT", "/s3/(?P<oid>[0-9a-f]{64})")
    def bucket(self, oid):
        right = self.hub.sign(("put" if self.command == "PUT" else "get") + oid)
        if self.server is self.hub.servers[0] or self.query.get("sig") != right:
            raise HubError(403, "SignatureDoesNotMatch")
        if (
            "Authorization" in self.headers
        ):  # what S3 answers; it means that the client leaked the Hub token
            raise HubError(400, "Only one auth mechanism allowed")
        if self.command != "PUT":
            return self.send_file(self.hub.root / "lfs" / oid, {"ETag": f'"{oid}"'})
        digest, part = hashlib.sha256(), self.hub.root / "lfs" / f"{oid}.{secrets.token_hex(4)}"
        try:
            with part.open("wb") as out:
                for piece in self.chunks():
                    digest.update(piece)
                    out.write(piece)
            if digest.hexdigest() != oid:
                raise HubError(400, "BadDigest")
            part.replace(self.hub.root / "lfs" / oid)
        finally:
            part.unlink(missing_ok=True)
        self.reply(200, b"", {"ETag": f'"{oid}"'})
        return None

    @route("POST", API + "/commit/(?P<rev>[^/]+)")
    def commit(self, kind, repo, rev):
        repo = self.repo(kind, repo, write=True)
        lines = [json.loads(line) for line in b"".join(self.chunks()).splitlines() if line.strip()]
        head = next(x["value"] for x in lines if x["key"] == "header")
        pull = self.query.get("create_pr") == "1"
        if pull and not hasattr(self.hub, "open_pull"):
            raise HubError(501, "loopback hub: pull requests need hub_extras.py")
        with self.hub.lock:
            ref = rev if rev.startswith("refs/") else f"refs/heads/{rev}"
            parent, old = self.hub.rev(repo, ref)
            if head.get("parentCommit") and not parent.startswith(head["parentCommit"]):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(old["files"])
            for op in lines:
                self.apply(files, op["key"], op["value"])
            ref = self.hub.open_pull(repo, self.user, head["summary"], parent) if pull else ref
            sha = self.hub.commit(
                repo, ref, files, head["summary"], head.get("description", ""), self.user, parent
            )
        url = (
            {"pullRequestUrl": f"{self.hub.url(repo)}/discussions/{ref.split('/')[-1]}"}
            if pull
            else {}
        )
        self.reply(
            200,
            {
                "success": True,
                "commitOid": sha,
                "commitUrl": f"{self.hub.url(repo)}/commit/{sha}",
                **url,
            },
        )

    def apply(self, files, key, value):
        path = value.get("path", "-")
        if {"..", "", ".", ".git"} & set(path.removesuffix("/").split("/")):
            raise HubError(400, f"Invalid path: {path}")
        if key == "file":
            data = base64.b64decode(value["content"])
            bad = front_matter(data.decode("utf-8", "replace"))[1] if path == "README.md" else []
            if len(data) > REGULAR_MAX:
                bad = [f"{len(data)} bytes, must go through LFS"]
            if bad:
                raise HubError(400, f"Invalid {path}: " + "; ".join(bad))
            files[path] = self.hub.blob(data)
        elif key == "lfsFile":
            stored = self.hub.root / "lfs" / re.sub("[^0-9a-f]", "", value["oid"])
            if not stored.is_file():
                raise HubError(
                    400, f"LFS pointer of {path} points to an object that was never uploaded"
                )
            size, xet = (
                stored.stat().st_size,
                self.hub.root / "xet" / "files" / f"{stored.name}.hash",
            )
            files[path] = {
                "oid": git_oid("blob", pointer(stored.name, size)),
                "size": size,
                "lfs": stored.name,
                **({"xet": xet.read_text()} if xet.exists() else {}),
            }
        elif key in ("deletedFile", "deletedFolder"):
            gone = [
                p
                for p in files
                if p == path or (key == "deletedFolder" and p.startswith(path.rstrip("/") + "/"))
            ]
            if not gone:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            for p in gone:
                del files[p]

    # For tests only
    @route("GET POST DELETE", "/_admin/(?P<what>log|faults|tokens)")
    def admin(self, what):
        if self.command == "DELETE":
            getattr(self.hub, what).clear()
        elif self.command == "POST" and what == "faults":
            self.hub.fault(**self.json())
        elif self.command == "POST" and what == "tokens":
            self.hub.tokens.update(self.json())
        self.reply(200, getattr(self.hub, what))


sys.modules.setdefault("hub_server", sys.modules[__name__])
if (Path(__file__).parent / "hub_extras.py").exists():
    import hub_extras  # noqa: F401


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--root", required=True, help="folder that keeps the repositories")
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--log", help="append one JSON line per request here")
    args = ap.parse_args()
    with HubServer(args.root, args.port, log_file=args.log):
        threading.Event().wait()


if __name__ == "__main__":
    main()
