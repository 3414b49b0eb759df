"""Every error this package raises: facts plus one sentence, a slug and an exit code.

    EngineError
    ├── UsageError             what was asked for makes no sense
    │   ├── InvalidReference
    │   ├── NotATerminal
    │   ├── InvalidOption
    │   │   └── InvalidName
    │   ├── InvalidSource
    │   ├── EngineNotOpen
    │   ├── NotSupported
    │   ├── NoCommand
    │   └── UnusableConfig
    ├── RegistryError          the registry, or the way to it
    │   ├── ImageNotFound
    │   │   └── BlobNotFound
    │   ├── RegistryBlocked
    │   ├── AccessDenied
    │   ├── LoginFailed
    │   ├── RateLimited
    │   ├── PullsSpent
    │   ├── RegistryUnavailable
    │   │   └── RegistryUnreachable
    │   └── RegistryMisbehaved
    ├── ContentError           the bytes are not what they should be
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   ├── InvalidManifest
    │   ├── UnsupportedMediaType
    │   │   └── UnsupportedCompression
    │   ├── PlatformNotFound
    │   ├── InvalidLayer
    │   ├── InvalidArchive
    │   ├── UnsafeEntry
    │   └── LimitExceeded
    ├── StoreError             the disk, or what lies on it
    │   ├── NoSuchImage
    │   ├── BlobMissing
    │   ├── ImageInUse
    │   ├── NoSuchVolume
    │   ├── VolumeInUse
    │   ├── NotAStore
    │   ├── StoreUnreadable
    │   ├── LayerInUse
    │   ├── StoreUnwritable
    │   ├── StoreCorrupt
    │   ├── Uncheckable
    │   ├── Irreparable
    │   ├── DiskFull
    │   └── DoesNotFit
    │       └── ExceedsMaxStore
    ├── ArchiveUnwritable      an archive of ours cannot be written where it should be
    ├── WorkerDied             an unpacking process ended without a word
    ├── WorkerNotStarted
    ├── Stopped                not begun, or not ended, for something else failed
    ├── NoSuchObject           neither a container nor an image
    └── RunError               the container, or the way to it
        ├── IsolationUnavailable
        ├── RuntimeUnavailable
        ├── NetworkUnavailable
        ├── NetworkFailed
        ├── LimitsUnavailable
        ├── NoSuchContainer
        ├── ContainerNameTaken
        ├── ContainerRunning
        ├── ContainerNotRunning
        ├── NoLog
        ├── NotPublished
        ├── NotInContainer
        ├── InvalidUser
        ├── SetupFailed
        ├── CommandNotExecutable
        ├── CommandNotFound
        └── ContainerFailed

Exit codes are Docker's: 1 for a failed operation, 125 for usage and engine errors of `run`,
126 and 127 for a command that cannot be started. Facts are plain words (str, int, tuples of
str), so that an error can cross a process boundary as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, dataclass_transform

_FACT_MAX = 1000
"""Characters of a fact that are shown: strangers can make a media type of megabytes."""
_LISTED = 20
_ANOTHER_ROOT = "choose another directory with --root or AIODOCKER_LITE_ROOT"


def printable(text: str) -> str:
    """Escape what could move a terminal's cursor: the one place where strangers' text is disarmed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str) -> str:
    """The beginning of it, where it is longer than anybody reads."""
    return text if len(text) <= _FACT_MAX else f"{text[:_FACT_MAX]}…"


@dataclass_transform(eq_default=False)
class EngineError(Exception):
    """Base of all errors of this package; `str()` is one sentence.

    Annotations are the facts, as in a dataclass; fifty of these would take 10 ms at each start.
    """

    names: ClassVar[tuple[str, ...]] = ()
    """Of the facts, in the order in which the class is called with them."""
    message: ClassVar[str] = "something went wrong"
    hint: ClassVar[str] = ""
    slug: ClassVar[str] = "engine"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.names += tuple(cls.__annotations__) if "__annotations__" in vars(cls) else ()

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        facts = dict(zip(self.names, values, strict=False)) | named
        for name in self.names:
            if name not in facts and hasattr(type(self), name):
                facts[name] = getattr(type(self), name)
        if set(facts) != set(self.names) or len(values) > len(self.names):
            raise TypeError(f"{type(self).__name__} has the facts {', '.join(self.names)}")
        vars(self).update(facts)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What follows from the facts."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.facts().items())})"

    def __str__(self) -> str:
        facts = {k: shortened(fact) if isinstance(fact, str) else fact for k, fact in vars(self).items()}
        return printable(self.message.format_map(facts))

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the class with `self.args`, which is empty
        # when the facts were passed by keyword.
        return _rebuild, (type(self), self.facts())

    def facts(self) -> dict[str, Any]:
        """What is known, by name; with the slug it is enough to build the error again."""
        return {name: value for name, value in vars(self).items() if not name.startswith("__")}


def _rebuild(kind: type[EngineError], facts: dict[str, Any]) -> EngineError:
    error = kind.__new__(kind)
    vars(error).update(facts)
    return error


def by_slug() -> dict[str, type[EngineError]]:
    """Every error class under its stable public name."""
    found: dict[str, type[EngineError]] = {}
    pending: list[type[EngineError]] = [EngineError]
    while pending:
        kind = pending.pop()
        found[kind.slug] = kind
        pending.extend(kind.__subclasses__())
    return found


def to_message(error: EngineError) -> dict[str, Any]:
    """An error as a JSON object, for another process."""
    return {"slug": error.slug, "facts": error.facts()}


def from_message(message: dict[str, Any]) -> EngineError:
    """The error that `to_message` described; an unknown slug gives the base class."""
    facts = {name: tuple(v) if isinstance(v, list) else v for name, v in message["facts"].items()}
    return _rebuild(by_slug().get(message["slug"], EngineError), facts)


@contextmanager
def one_error() -> Iterator[None]:
    """Keep groups of exceptions out of the public API: the first is raised, the others are its notes.

    A group of several that holds anything but our own errors stays as it is, for that is a bug
    and must look like one.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        first, *others = _leaves(group)
        if others and not all(isinstance(error, EngineError) for error in (first, *others)):
            raise
        for other in others:
            first.add_note(f"also: {other}")
        raise first from first.__cause__


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


# --- usage ---------------------------------------------------------------------------------


class UsageError(EngineError):
    """What was asked for makes no sense."""

    slug = "usage"
    exit_code = 125


class InvalidReference(UsageError, ValueError):
    """An image name that Docker's grammar does not allow."""

    text: str
    reason: str

    slug = "invalid-reference"
    message = "invalid reference format: '{text}': {reason}"


class NotATerminal(UsageError):
    """Keys were to be passed on, and standard input has none."""

    slug = "not-a-terminal"
    exit_code = 1
    message = "the input device is not a TTY: leave out -t, or -i"


class InvalidOption(UsageError, ValueError):
    """An option whose value cannot be used."""

    option: str
    reason: str

    slug = "invalid-option"
    message = "invalid value for {option}: {reason}"


class InvalidName(InvalidOption):
    """What a container or a volume cannot be called."""

    slug = "invalid-name"
    exit_code = 1


class InvalidSource(UsageError, ValueError):
    """A file that should name images, and where in it nothing can be made of it."""

    place: str
    """The file, and where in it: ``images.txt: line 3``, ``compose.yaml: services.db.image``."""
    reason: str

    slug = "invalid-source"
    message = "{place}: {reason}"


class EngineNotOpen(UsageError):
    """An engine was used before its block or after it."""

    slug = "engine-not-open"
    message = "the engine is not open; it is inside of 'async with Engine() as engine:'"


class NotSupported(UsageError):
    """Something that docker has, and that is not here."""

    what: str
    near: str = ""
    """What may be used in its place."""

    slug = "not-supported"
    message = "{what} is not supported"

    def __post_init__(self) -> None:
        vars(self)["hint"] = self.near


class NoCommand(UsageError):
    """Neither the image nor the caller says what to run."""

    slug = "no-command"
    message = "no command specified"
    hint = "name the command after the image"


class UnusableConfig(UsageError):
    """A configuration file that cannot be read, understood or written."""

    path: str
    reason: str

    slug = "unusable-config"
    message = "cannot use {path}: {reason}"


# --- registry ------------------------------------------------------------------------------


class RegistryError(EngineError):
    """The registry refused, failed or could not be reached."""

    slug = "registry"


class ImageNotFound(RegistryError, LookupError):
    """The registry does not have this image (or hides that it has)."""

    reference: str
    reason: str = "manifest unknown"

    slug = "image-not-found"
    message = "manifest for {reference} not found: {reason}"
    hint = "check the name and the tag"


class BlobNotFound(ImageNotFound):
    """The registry has the manifest of an image, and not all that the manifest names."""

    slug = "blob-not-found"
    message = "{reference} is not complete in its registry: {reason}"
    hint = "the image has to be pushed again, or pulled from elsewhere"


class RegistryBlocked(RegistryError):
    """A configuration file forbids to pull from there."""

    reference: str
    path: str

    slug = "registry-blocked"
    message = "pulling {reference} is blocked by {path}"


class AccessDenied(RegistryError):
    """The registry wants other credentials than the ones it was given."""

    reference: str
    credentials: str

    slug = "access-denied"
    message = (
        "pull access denied for {reference}, repository does not exist or may require 'login' "
        "(credentials used: {credentials})"
    )

    def __post_init__(self) -> None:
        first, slash, _ = self.reference.partition("/")
        is_host = slash and (first == "localhost" or "." in first or ":" in first)
        log_in = f"log in with: aiodocker-lite login {first if is_host else 'docker.io'}"
        # Of this error and not of its class; it reaches other processes with the facts.
        vars(self)["hint"] = (
            "check the user name and the password of --creds" if self.credentials == "--creds" else log_in
        )


class LoginFailed(RegistryError):
    """The registry did not accept a user name and password."""

    registry: str
    reason: str

    slug = "login-failed"
    message = "login to {registry} failed: {reason}"


class RateLimited(RegistryError):
    """The registry asks for a pause (status 429)."""

    registry: str
    reason: str
    retry_after: float | None = None
    """As it was said, or a minute if that is less."""
    resets_in: float | None = None
    """Seconds until it answers again, where it has said so; at most a day."""

    slug = "rate-limited"
    message = "{registry} limits the number of pulls: {reason}"
    hint = "log in, wait, or name a mirror in registries.conf, hosts.toml or daemon.json"
    retryable = True


class PullsSpent(RegistryError):
    """A registry was asked for as many manifests as it may be in one prefetch."""

    registry: str
    most: int

    slug = "pulls-spent"
    message = "not pulled: --max-pulls permits {most} from {registry}"
    hint = "the same command continues there"


class RegistryUnavailable(RegistryError):
    """No answer, or none that helps now; trying again may."""

    registry: str
    reason: str
    retry_after: float | None = None

    slug = "registry-unavailable"
    message = "{registry} failed: {reason}"
    retryable = True


class RegistryUnreachable(RegistryUnavailable):
    """Nobody there, or nobody to be trusted: a closed port, an unknown host, a bad certificate."""

    slug = "registry-unreachable"
    message = "cannot reach {registry}: {reason}"
    retryable = False


class RegistryMisbehaved(RegistryError):
    """An answer that no registry should give; trying again will not help."""

    registry: str
    reason: str

    slug = "registry-misbehaved"
    message = "{registry} does not answer like a registry: {reason}"


# --- content -------------------------------------------------------------------------------


class ContentError(EngineError):
    """Bytes that are not what they were promised to be."""

    slug = "content"


class DigestMismatch(ContentError):
    """The bytes arrived whole, and are other bytes."""

    what: str
    expected: str
    actual: str

    slug = "digest-mismatch"
    message = "{what} has the wrong content: expected {expected}, got {actual}; nothing was stored"


class SizeMismatch(ContentError):
    """More or fewer bytes than promised."""

    what: str
    expected: int
    actual: int

    slug = "size-mismatch"
    message = "{what} has the wrong size: expected {expected} bytes, got {actual}; nothing was stored"


class InvalidManifest(ContentError):
    """A manifest, index or image configuration that breaks its specification."""

    what: str
    reason: str

    slug = "invalid-manifest"
    message = "{what} is not valid: {reason}"


class UnsupportedMediaType(ContentError):
    """A document of a kind this engine does not read."""

    what: str
    media_type: str

    slug = "unsupported-media-type"
    message = "{what} has the media type '{media_type}', which is not supported"


class UnsupportedCompression(UnsupportedMediaType):
    """A layer that is compressed in a way that this engine does not read, whatever its media type says."""

    slug = "unsupported-compression"
    message = "{what} is compressed with {media_type}, which is not supported"


class PlatformNotFound(ContentError):
    """The image exists, but not for this platform."""

    wanted: str
    available: tuple[str, ...]

    slug = "platform-not-found"

    def __str__(self) -> str:
        offered = shortened(", ".join(self.available[:_LISTED])) or "nothing that can be run"
        if len(self.available) > _LISTED:
            offered += f" and {len(self.available) - _LISTED} more"
        return printable(f"no matching manifest for {self.wanted}: the image is there for {offered}")


class InvalidLayer(ContentError):
    """A layer whose compression or tar stream is broken."""

    layer: str
    reason: str

    slug = "invalid-layer"
    message = "layer {layer} cannot be unpacked: {reason}"


class InvalidArchive(ContentError):
    """A file given to `load` that is not an image archive, or a broken one."""

    archive: str
    reason: str

    slug = "invalid-archive"
    message = "cannot load {archive}: {reason}"


class UnsafeEntry(ContentError):
    """A tar entry that reaches for something outside its root, or makes no sense."""

    layer: str
    entry: str
    reason: str

    slug = "unsafe-entry"
    message = "layer {layer}: refusing entry '{entry}': {reason}"


class LimitExceeded(ContentError):
    """Something is larger than the limit that was set for it."""

    what: str
    limit: int
    actual: int
    setting: str = ""
    """The name of the limit in `Limits`, if it can be set."""

    slug = "limit-exceeded"
    message = "{what} exceeds its limit: {actual} is more than {limit}"

    def __post_init__(self) -> None:
        if self.setting:
            vars(self)["hint"] = f"if this image is to be trusted, allow more with: --limit {self.setting}=…"


# --- store ---------------------------------------------------------------------------------


class StoreError(EngineError):
    """The store cannot do what was asked."""

    slug = "store"


class NoSuchImage(StoreError, LookupError):
    """The image is not in the store."""

    name: str

    slug = "no-such-image"
    message = "No such image: {name}"


class BlobMissing(StoreError):
    """A layer is not here as a blob, the only form in which an image can be passed on."""

    name: str
    layer: str

    slug = "blob-missing"
    message = "cannot save {name}: the blob of its layer {layer} is not in the store"
    hint = "pull or load the image again, without --discard-blobs"


class ImageInUse(StoreError):
    """The image cannot be removed while something needs it."""

    name: str
    reason: str

    slug = "image-in-use"
    message = "conflict: unable to delete {name} {reason}"


class NoSuchVolume(StoreError, LookupError):
    """There is no volume of this name."""

    name: str

    slug = "no-such-volume"
    message = "No such volume: {name}"


class VolumeInUse(StoreError):
    """The volume cannot be removed while a container has it."""

    name: str
    containers: str

    slug = "volume-in-use"
    message = "cannot remove volume {name}: it is in use by {containers}"


class NotAStore(StoreError):
    """Something else is where the store should be; it is left as it is."""

    path: str
    reason: str

    slug = "not-a-store"
    message = "cannot use {path} as a store: {reason}"
    hint = _ANOTHER_ROOT


class StoreUnreadable(StoreError):
    """What is in the store cannot be read, by this user for example."""

    path: str
    reason: str

    slug = "store-unreadable"
    message = "cannot read the store at {path}: {reason}"
    hint = _ANOTHER_ROOT


class LayerInUse(StoreError):
    """A layer cannot be unpacked again for other user ids while a container runs on it."""

    layer: str
    container: str

    slug = "layer-in-use"
    message = "layer {layer} was unpacked for other user ids, and container {container} runs on it"
    hint = "stop the container first"


class StoreUnwritable(StoreError):
    """The store cannot be written to."""

    path: str
    reason: str

    slug = "store-unwritable"
    message = "cannot write to the store at {path}: {reason}"
    hint = _ANOTHER_ROOT


class StoreCorrupt(StoreError):
    """A file of the store cannot be understood."""

    path: str
    reason: str

    slug = "store-corrupt"
    message = "the store is damaged: {path}: {reason}"


class Uncheckable(StoreError):
    """It cannot be said whether a layer is damaged."""

    layer: str
    reason: str

    slug = "uncheckable"
    message = "cannot check layer {layer}: {reason}"


class Irreparable(StoreError):
    """A damaged image cannot be made whole from where it came from."""

    name: str
    reason: str

    slug = "irreparable"
    message = "cannot repair {name}: {reason}"


class DiskFull(StoreError):
    """No space, no quota or no inodes left."""

    path: str
    reason: str

    slug = "disk-full"
    message = "no space left while writing {path}: {reason}"
    hint = "free some space and run the same command again"


class DoesNotFit(StoreError):
    """There is not the room that an image needs, so it was not begun."""

    name: str
    path: str
    reason: str

    slug = "does-not-fit"
    message = "{name} does not fit into {path}: {reason}"
    hint = "remove something (see `df` and `prune`), or choose another directory with --root"


class ExceedsMaxStore(DoesNotFit):
    """An image, or those of one command together, are more than the store may have."""

    slug = "exceeds-max-store"
    hint = "give a --max-store of more than that, or pull fewer images with one command"


class ArchiveUnwritable(EngineError):
    """An archive cannot be written where it should be."""

    path: str
    reason: str

    slug = "archive-unwritable"
    message = "cannot write {path}: {reason}"


class WorkerDied(EngineError):
    """An unpacking process ended without saying why."""

    layer: str
    reason: str

    slug = "worker-died"
    message = "the process that unpacked layer {layer} ended early: {reason}"


class WorkerNotStarted(EngineError):
    """An unpacking process cannot be started: too many processes or open files, or no memory."""

    reason: str

    slug = "worker-not-started"
    message = "cannot start a process to unpack layers: {reason}"


class Stopped(EngineError):
    """An image was given up, for another one failed."""

    slug = "stopped"
    message = "not brought, for another image has failed (--fail-fast)"


# --- run -----------------------------------------------------------------------------------


class RunError(EngineError):
    """The container could not be started, or did not end well."""

    slug = "run"
    exit_code = 125


class IsolationUnavailable(RunError):
    """This machine does not permit the isolation that was required."""

    rung: str
    cause: str

    slug = "isolation-unavailable"
    message = "isolation '{rung}' is not available here: {cause}"


class RuntimeUnavailable(RunError):
    """The runtime that was asked for is not here, or cannot be used."""

    runtime: str
    reason: str

    slug = "runtime-unavailable"
    message = "the runtime {runtime} cannot be used: {reason}"


class NetworkUnavailable(RunError):
    """Nothing here can make a network of its own for a container."""

    needs: str

    slug = "network-unavailable"
    message = "a network of its own needs {needs}; or choose --network host or none"


class NetworkFailed(RunError):
    """A container's network could not be made."""

    program: str
    reason: str

    slug = "network-failed"
    message = "the network could not be made ({program}): {reason}"


class LimitsUnavailable(RunError):
    """A limit of a container that needs control groups, which cannot be had here."""

    what: str
    reason: str

    slug = "limits-unavailable"
    message = "limits of {what} cannot be set here: {reason}"


class NoSuchContainer(RunError, LookupError):
    """There is no container of this name or id."""

    name: str

    slug = "no-such-container"
    exit_code = 1
    message = "No such container: {name}"


class NoSuchObject(EngineError, LookupError):
    """There is neither a container nor an image of this name or ID."""

    name: str

    slug = "no-such-object"
    message = "No such object: {name}"


class ContainerNameTaken(RunError):
    """Another container has this name."""

    name: str
    holder: str

    slug = "container-name-taken"
    exit_code = 1
    message = (
        'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


class ContainerRunning(RunError):
    """The container cannot be removed while it runs."""

    id: str

    slug = "container-running"
    exit_code = 1
    message = (
        "You cannot remove a running container {id}. "
        "Stop the container before attempting removal or force remove"
    )


class ContainerNotRunning(RunError):
    """There is no process in this container that could be told anything."""

    id: str

    slug = "container-not-running"
    exit_code = 1
    message = "Container {id} is not running"


class NoLog(RunError):
    """The output of this container went to whoever ran it."""

    name: str

    slug = "no-log"
    exit_code = 1
    message = "container {name} was not detached: its output went to whoever ran it, and was not kept"
    hint = "`run --detach` keeps it"


class NotPublished(RunError):
    """A port of a container that is not one of the host."""

    port: str
    container: str

    slug = "not-published"
    exit_code = 1
    message = "No public port '{port}' published for {container}"


class NotInContainer(RunError, LookupError):
    """A path that does not exist in a container, or cannot be used there."""

    name: str
    path: str
    reason: str

    slug = "not-in-container"
    exit_code = 1
    message = "{name}:{path}: {reason}"


class InvalidUser(RunError):
    """A user or group that the image does not know, or that is no name and no number."""

    text: str
    reason: str

    slug = "invalid-user"
    message = "unable to find user {text}: {reason}"


class SetupFailed(RunError):
    """A step between the image and the running process failed."""

    step: str
    reason: str

    slug = "setup-failed"
    message = "cannot start the container: {step}: {reason}"


class CommandNotExecutable(RunError):
    """The command exists and cannot be executed."""

    command: str
    reason: str

    slug = "command-not-executable"
    exit_code = 126
    message = 'exec: "{command}": {reason}'


class CommandNotFound(RunError):
    """The image has no such command, or not what it needs to be executed."""

    command: str
    reason: str

    slug = "command-not-found"
    exit_code = 127
    message = 'exec: "{command}": {reason}'


class ContainerFailed(RunError):
    """The process ran and ended with a status other than zero (`check=True`)."""

    command: str
    returncode: int
    stderr: str = ""

    slug = "container-failed"
    message = "'{command}' ended with status {returncode}"
