# Shared by scripts/{run,test,check,bench}: finds a Python, makes the virtual environment, installs what the locks say.
# Sourced by bash with `root` set to the project's folder. Everything said here goes to stderr; stdout is the caller's.

say() { printf 'roomprobe: %s\n' "$*" >&2; }
die() { say "$*"; exit 3; }

# The command itself for root, through sudo when that asks no password; 1 when neither is to be had.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# Runs a command whose output matters only when it fails. Without a file: one that is interrupted leaves nothing behind.
quietly() {
    local said rc=0
    said=$("$@" 2>&1 </dev/null) || rc=$?
    [ "$rc" = 0 ] || printf '%s\n' "$said" | tail -n 30 >&2
    return "$rc"
}

apt_install() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# Can the unprivileged user of the lab read this? Everybody's own question when not root.
open_to_all() {
    [ "$(id -u)" != 0 ] || setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$1"
}

# Sets `python` to the first Python that is new enough and can make a virtual environment; else sets `lacking`.
# The system's own comes first: one under somebody's home may be closed to the user that the lab runs as.
find_python() {
    local candidate path candidates=(/usr/bin/python3 python3 python3.{14,13,12,11})
    lacking=python
    [ -z "${ROOMPROBE_PYTHON:-}" ] || candidates=("$ROOMPROBE_PYTHON")
    for candidate in "${candidates[@]}"; do
        path=$(command -v "$candidate") || continue
        if ! "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            [ "$lacking" != python ] || lacking=newer
        elif ! "$path" -c 'import ensurepip, venv' 2>/dev/null; then
            lacking=venv
        else
            python=$path
            return 0
        fi
    done
    return 1
}

need_python() {
    find_python && return
    [ -z "${ROOMPROBE_PYTHON:-}" ] ||
        die "ROOMPROBE_PYTHON is $ROOMPROBE_PYTHON, which is no Python 3.11 or newer that can make a virtual environment."
    if [ "$lacking" != newer ] && may_install; then
        say "installing Debian's python3-venv, which is missing here"
        apt_install python3-venv || die "Debian's python3-venv could not be installed; what apt-get said stands above."
        find_python && return
    fi
    case $lacking in
        python) die "there is no Python here; please install Python 3.11 or newer (on Debian: apt-get install python3-venv)." ;;
        newer) die "Python 3.11 or newer is needed and this machine has only an older one; please install a newer one." ;;
        venv) die "this Python cannot make a virtual environment; please install it as root: apt-get install python3-venv." ;;
    esac
}

# What one set-up was made from. Locks, project files, folder: a change in any of them makes it again.
fingerprint() {
    (cd "$root" && cat "$@" setup.cfg pyproject.toml && printf '%s\n' "$root") | sha256sum
}
run_locks=(requirements/build.txt requirements/run.txt)
test_locks=(requirements/build.txt requirements/run.txt requirements/test.txt)

# Is the environment at $venv what its stamp of this name says, and is its Python still the one it was made with?
current() {
    local made python_then
    { read -r made && read -r python_then; } 2>/dev/null <"$venv/roomprobe-$1" &&
        [ "$made" = "$2" ] && [ "$venv/bin/python" -ef "$python_then" ]
}

stamp() {
    printf '%s\n' "$2" "$(readlink -f "$venv/bin/python")" >"$venv/roomprobe-$1.new"
    mv "$venv/roomprobe-$1.new" "$venv/roomprobe-$1"
}

install_locked() {
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --require-hashes "$@"
}

# set_up run|test: leaves a working environment at $venv. A stamp is written last, so one that was interrupted is made anew.
set_up() {
    local want_run want_test=
    case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
    want_run=$(fingerprint "${run_locks[@]}")
    [ "$1" != test ] || want_test=$(fingerprint "${test_locks[@]}")
    if current run "$want_run" && { [ "$1" = run ] || current test "$want_test"; }; then return; fi
    (
        umask 022
        writable
        # Two at once would tear each other's environment: the second waits, and then finds the work done.
        if command -v flock >/dev/null; then exec 9<"$root" && flock 9; fi
        need_python
        if ! current run "$want_run"; then
            say "setting up $venv, this once"
            quietly "$python" -m venv --clear "$venv" || die "$python could not make $venv; what it said stands above."
            install_locked -r "$root/requirements/build.txt" -r "$root/requirements/run.txt" || no_packages
            quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps \
                --no-build-isolation --no-index --editable "$root" ||
                die "the project could not be installed into $venv; what pip said stands above."
            stamp run "$want_run"
        fi
        if [ -n "$want_test" ] && ! current test "$want_test"; then
            say "adding what the tests need to $venv"
            install_locked -r "$root/requirements/test.txt" || no_packages
            stamp test "$want_test"
        fi
    ) || exit 3
}

no_packages() {
    die "the packages could not be fetched; what pip said stands above. The next run starts over."
}

writable() {
    local place=${venv%/*}
    [ -w "$venv" ] || { [ ! -e "$venv" ] && [ -w "$place" ]; } ||
        die "$place cannot be written by you; please copy the project to a folder of your own, or name another with ROOMPROBE_VENV."
}

# Runs a command and keeps the worst exit status of all so far in `worst`.
worst=0
worst_of() {
    local rc=0
    "$@" || rc=$?
    [ "$rc" -le "$worst" ] || worst=$rc
}

# Lint, format and types; their caches stay out of a folder that may be somebody else's.
run_checks() {
    cd "$root"
    export RUFF_CACHE_DIR="$venv/cache/ruff" MYPY_CACHE_DIR="$venv/cache/mypy" HYPOTHESIS_STORAGE_DIRECTORY="$venv/cache/hypothesis"
    worst_of "$venv/bin/ruff" check .
    worst_of "$venv/bin/ruff" format --check .
    worst_of "$venv/bin/mypy" agent
    [ "$worst" = 0 ] || say "lint, format or types failed, see above; the tests run all the same"
}
