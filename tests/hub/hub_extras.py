"""The other half of hub_server.py: refs, settings, pull requests, and a Xet store.

With hf_xet installed huggingface_hub sends every "lfs" file through Xet, whatever the server says;
a server without Xet forces its clients to HF_HUB_DISABLE_XET=1. This is the part of the protocol
that hf_xet 1.8 needs: xorbs and shards in, reconstructions out. A file is rebuilt from its chunks
when its shard arrives and must hash to the sha256 in the shard; from then on it is an ordinary LFS
object too. No deduplication on the server.
"""

import hashlib
import json
import re
import struct
import time
from urllib.parse import parse_qs

from hub_server import API, HubError, HubServer, now, route


# Refs, settings, lists
@route("GET", "/api/(?P<kind>models|datasets|spaces)")
def list_repos(h, kind):
    author, text = h.query.get("author"), h.query.get("search", "").lower()
    h.reply(
        200,
        [
            h.hub.info(r)
            for (k, name), r in sorted(h.hub.repos.items())
            if k == kind[:-1]
            and text in name.lower()
            and author in (None, name.split("/")[0])
            and (not r["private"] or h.owns(name))
        ],
    )


@route("PUT", API + "/settings")
def settings(h, kind, repo):
    repo, ask = h.repo(kind, repo, write=True), h.json()
    repo["gated"] = ask.get("gated", repo["gated"])
    repo["private"] = ask["visibility"] == "private" if "visibility" in ask else repo["private"]
    h.hub.save(repo)
    h.reply(200, {"private": repo["private"], "gated": repo["gated"]})


@route("POST", API + "/paths-info/(?P<rev>[^/]+)")
def paths_info(h, kind, repo, rev):
    body = b"".join(h.chunks())
    paths = (
        json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
    )
    sha, commit = h.hub.rev(h.repo(kind, repo), rev)
    last = {"lastCommit": {"id": sha, "title": commit["title"], "date": commit["date"]}}
    h.reply(200, [{**row, **last} for row in h.hub.listing(commit) if row["path"] in paths])


@route("GET", API + "/refs")
def refs(h, kind, repo):
    found = h.repo(kind, repo)["refs"]
    starts = {
        "branches": "refs/heads/",
        "tags": "refs/tags/",
        "pullRequests": "refs/pr/",
        "converts": "refs/convert/",
    }
    h.reply(
        200,
        {
            key: [
                {"name": r.removeprefix(start), "ref": r, "targetCommit": c}
                for r, c in found.items()
                if r.startswith(start)
            ]
            for key, start in starts.items()
        },
    )


@route("POST DELETE", API + "/(?P<what>branch|tag)/(?P<name>[^/]+)")
def branch_or_tag(h, kind, repo, what, name):
    repo, ask = h.repo(kind, repo, write=True), h.json()
    ref = f"refs/heads/{name}" if what == "branch" else f"refs/tags/{ask.get('tag', name)}"
    if h.command == "DELETE":
        if repo["refs"].pop(ref, None) is None:
            raise HubError(404, f"{ref} does not exist", "RevisionNotFound")
    elif ref in repo["refs"]:
        raise HubError(409, f"Reference already exists: {ref}")
    else:
        repo["refs"][ref] = h.hub.rev(
            repo, ask.get("startingPoint", "main") if what == "branch" else name
        )[0]
    h.hub.save(repo)
    h.reply(200)


@route("GET HEAD POST", "/api/(?:telemetry/.*|agent-harnesses)|/v1/telemetry")
def nothing(h):
    h.reply(200, {})


# Discussions and pull requests: opened, listed, committed to; never merged
def open_pull(hub, repo, user, title, start, text="", pull=True):
    num = len(repo["threads"]) + 1
    latest = {"raw": text, "html": text, "updatedAt": now(), "author": {"name": user}}
    repo["threads"].append(
        {
            "num": num,
            "title": title,
            "author": {"name": user},
            "createdAt": now(),
            "status": "draft" if pull else "open",
            "repo": {"name": repo["id"], "type": repo["type"]},
            "isPullRequest": pull,
            "filesWithConflicts": [],
            "diff": "",
            "changes": {"base": "refs/heads/main"},
            "events": [
                {
                    "id": f"{num:024x}",
                    "type": "comment",
                    "createdAt": now(),
                    "author": {"name": user},
                    "data": {"edited": False, "hidden": False, "latest": latest},
                }
            ],
        }
    )
    if pull:
        repo["refs"][f"refs/pr/{num}"] = start
    hub.save(repo)
    return f"refs/pr/{num}"


HubServer.open_pull = open_pull


@route("GET POST", API + "/discussions(?:/(?P<num>[0-9]+))?")
def discussions(h, kind, repo, num):
    repo = h.repo(kind, repo)
    if h.command == "GET" and num is None:
        return h.reply(
            200, {"discussions": repo["threads"], "count": len(repo["threads"]), "start": 0}
        )
    if h.command == "POST":
        ask = h.json()
        h.must_write(
            repo["id"], "open a discussion"
        )  # narrower than the Hub, where any account may
        with h.hub.lock:
            h.hub.open_pull(
                repo,
                h.user,
                ask["title"],
                repo["refs"]["refs/heads/main"],
                ask["description"],
                bool(ask.get("pullRequest")),
            )
            num = len(repo["threads"])
    if int(num) > len(repo["threads"]):
        raise HubError(404, "Discussion not found")
    h.reply(200, repo["threads"][int(num) - 1])
    return None


# Xet
def hex_hash(raw):
    """Xet prints a 32-byte hash as four little-endian 64-bit words."""
    return b"".join(raw[i : i + 8][::-1] for i in range(0, 32, 8)).hex()


def lz4_frame(data):
    flags, at, out = data[4], 7 + (8 if data[4] & 8 else 0) + (4 if data[4] & 1 else 0), bytearray()
    while (size := struct.unpack_from("<I", data, at)[0]) != 0:
        block, at = (
            data[at + 4 : at + 4 + (size & 0x7FFFFFFF)],
            at + 4 + (size & 0x7FFFFFFF) + (4 if flags & 16 else 0),
        )
        if size >> 31:
            out += block
        else:
            lz4_block(block, out)
    return bytes(out)


def lz4_block(src, out):
    def length(
        nibble, i
    ):  # 15 means that more bytes follow, up to and including the first that is not 255
        n = nibble
        while nibble == 15:
            n, i = n + src[i], i + 1
            if src[i - 1] != 255:
                break
        return n, i

    i = 0
    while i < len(src):
        token = src[i]
        n, i = length(token >> 4, i + 1)
        out += src[i : i + n]
        i += n
        if i < len(src):
            back = src[i] | src[i + 1] << 8
            n, i = length(token & 15, i + 2)
            piece = bytes(out[-back:][: n + 4])
            out += (piece * ((n + 4) // back + 1))[: n + 4]


def chunks_of(xorb):
    """-> [(offset, end, scheme, unpacked length)] of a serialized xorb."""
    at, rows = 0, []
    while at + 8 <= len(xorb) and xorb[at : at + 7] != b"XETBLOB":
        packed, unpacked = (
            int.from_bytes(xorb[at + 1 : at + 4], "little"),
            int.from_bytes(xorb[at + 5 : at + 8], "little"),
        )
        rows.append((at, at + 8 + packed, xorb[at + 4], unpacked))
        at += 8 + packed
    return rows


def unpack(xorb, row):
    data = xorb[row[0] + 8 : row[1]]
    data = lz4_frame(data) if row[2] else data
    if row[2] == 2:  # bytes were grouped by their position modulo 4
        out, at = bytearray(len(data)), 0
        for k in range(4):
            n = len(out[k::4])
            out[k::4], at = data[at : at + n], at + n
        data = bytes(out)
    if len(data) != row[3]:
        raise HubError(400, "corrupt xorb chunk")
    return data


def files_of(shard):
    """-> (xet hash, sha256, [(xorb, bytes, first chunk, end chunk)]) of each file in a shard."""
    at = 48
    while shard[at : at + 32] != b"\xff" * 32:
        name, (flags, n) = hex_hash(shard[at : at + 32]), struct.unpack_from("<II", shard, at + 32)
        terms = []
        for i in range(at + 48, at + 48 * (n + 1), 48):
            _, size, first, end = struct.unpack_from("<IIII", shard, i + 32)
            terms.append((hex_hash(shard[i : i + 32]), size, first, end))
        at += 48 * (1 + n + (n if flags >> 31 else 0))
        sha = None
        if flags >> 30 & 1:
            sha, at = hex_hash(shard[at : at + 32]), at + 48
        yield name, sha, terms


@route("GET", API + "/xet-(?P<mode>read|write)-token/(?P<rev>[^/]+)")
def xet_token(h, kind, repo, mode, rev):
    h.repo(kind, repo, write=mode == "write", content=True)
    token, until = h.hub.sign("xet-" + mode), int(time.time()) + 3600
    h.reply(
        200,
        {"casUrl": h.hub.cdn, "accessToken": token, "exp": until},
        {"X-Xet-Cas-Url": h.hub.cdn, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": until},
    )


def xet_auth(h, *modes):
    if h.headers.get("Authorization") not in ["Bearer " + h.hub.sign("xet-" + m) for m in modes]:
        raise HubError(401, "wrong xet token")
    for name in ("xorbs", "files"):
        (h.hub.root / "xet" / name).mkdir(parents=True, exist_ok=True)
    return h.hub.root / "xet"


@route("POST", "/v1/xorbs?/default/(?P<name>[0-9a-f]{64})")
def put_xorb(h, name):
    path = xet_auth(h, "write") / "xorbs" / name
    new = not path.exists()
    path.write_bytes(b"".join(h.chunks()))
    h.reply(200, {"was_inserted": new})


@route("POST", "/v1/shards")
def put_shard(h):
    root = xet_auth(h, "write")
    for name, sha, terms in files_of(b"".join(h.chunks())):
        parts = []
        for xorb, _size, first, end in terms:
            if not (root / "xorbs" / xorb).exists():
                raise HubError(400, f"shard names a xorb that was never uploaded: {xorb}")
            raw = (root / "xorbs" / xorb).read_bytes()
            parts += [unpack(raw, row) for row in chunks_of(raw)[first:end]]
        data = b"".join(parts)
        found = hashlib.sha256(data).hexdigest()
        if sha not in (None, found):
            raise HubError(400, f"file {name}: sha256 is {found}, the shard says {sha}")
        (h.hub.root / "lfs" / found).write_bytes(data)
        (root / "files" / f"{found}.hash").write_text(name)
        (root / "files" / f"{name}.json").write_text(json.dumps(terms))
    h.reply(200, {"result": 1})


@route("GET", "/v1/reconstructions/(?P<name>[0-9a-f]{64})")
def reconstruct(h, name):
    root = xet_auth(h, "read", "write")
    if not (root / "files" / f"{name}.json").exists():
        raise HubError(404, "no such file")
    terms, out, fetch, at = json.loads((root / "files" / f"{name}.json").read_text()), [], {}, 0
    want = re.fullmatch(r"bytes=(\d+)-(\d+)", h.headers.get("Range", "")) or [0, 0, 1 << 60]
    start, end, skip = int(want[1]), int(want[2]), 0
    if start >= sum(t[1] for t in terms):
        return h.reply(416)
    for xorb, size, first, last in terms:
        if at + size > start and at <= end:
            skip = start - at if not out else skip
            out.append(
                {"hash": xorb, "unpacked_length": size, "range": {"start": first, "end": last}}
            )
            rows = chunks_of((root / "xorbs" / xorb).read_bytes())
            url = f"{h.hub.cdn}/xorb/{xorb}?sig={h.hub.sign('xorb' + xorb)}"
            fetch.setdefault(xorb, []).append(
                {
                    "range": {"start": first, "end": last},
                    "url": url,
                    "url_range": {"start": rows[first][0], "end": rows[last - 1][1] - 1},
                }
            )
        at += size
    h.reply(200, {"offset_into_first_range": skip, "terms": out, "fetch_info": fetch})
    return None


@route("GET", "/xorb/(?P<name>[0-9a-f]{64})")
def get_xorb(h, name):
    if h.query.get("sig") != h.hub.sign("xorb" + name):
        raise HubError(403, "SignatureDoesNotMatch")
    h.send_file(h.hub.root / "xet" / "xorbs" / name, {})


@route("GET POST PUT", "/v[12]/.*")
def other_cas(
    h,
):
    # Deduplication, upload grants, v2 shards and reconstructions: hf_xet falls back on a 404.
    raise HubError(404, "not here")
