#!/bin/sh
# Makes the virtual environment .venv of this checkout. Called by `make setup`: requirements/set_up.sh STAMP
#
# STAMP is a file in .venv, named after the content of the requirements, that is made when everything is in place. While
# it is being changed the environment carries the mark .venv/incomplete: one that was left so by an interruption cannot
# be trusted (pip takes a half unpacked package for an installed one), and is made anew.
set -eu
cd "$(dirname "$0")/.."
stamp=$1
venv=$PWD/.venv

say() { printf '%s\n' "set-up: $*"; }
fail() { printf '%s\n' "set-up: $*" >&2; exit 1; }

# A ROS installation brings rclpy, the messages and colcon, for its own Python; elsewhere they come as wheels.
if [ -n "${ROS_DISTRO:-}" ]; then
    candidates="python3"
    requirements="core report bags train export dev"
    shared=true
    say "ROS 2 $ROS_DISTRO is sourced: using its rclpy and its build tools"
else
    candidates="python3 python3.12 python3.11"
    requirements="core report bags train export dev ros build"
    shared=false
fi

usable='
import os, sys, sysconfig, venv, ensurepip
assert (3, 11) <= sys.version_info[:2] <= (3, 12)
assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
'
python=
for candidate in ${PYTHON:-$candidates}; do
    # A name on the PATH may still be a launcher of a Python that is not there: only running it tells.
    if "$candidate" -c "$usable" 2>/dev/null; then python=$candidate; break; fi
done
missing=
[ -n "$python" ] || missing="Python 3.11 or 3.12 with venv and headers (python3-venv, python3-dev)"
for tool in g++ cmake; do
    command -v $tool >/dev/null || missing="${missing:+$missing; }$tool"
done
[ -z "$missing" ] || fail "missing: $missing. On Debian and Ubuntu: apt install g++ cmake python3-venv python3-dev"

# Made anew: an environment that is incomplete, that is of another Python than was asked for, or whose Python has gone,
# and one that was made elsewhere and moved here (its scripts name the old place).
version_of() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null || true; }
found=$(version_of "$venv/bin/python")
wanted=$found
[ -z "${PYTHON:-}" ] || wanted=$(version_of "$python")
why=
if [ -e "$venv/incomplete" ]; then why="was left incomplete"
elif [ -z "$found" ]; then why="has no working Python"
elif [ "$found" != "$wanted" ]; then why="is of Python $found, not $wanted"
elif ! grep -qF "$venv/bin/python" "$venv/bin/pip"; then why="was made elsewhere"
elif ! grep -q "include-system-site-packages = $shared" "$venv/pyvenv.cfg"; then why="was made with other ROS"
fi
if [ -e "$venv" ] && [ -n "$why" ]; then
    say ".venv $why: making it anew"
    rm -rf "$venv"
fi
mkdir -p "$venv"
touch "$venv/incomplete"
rm -f "$venv"/complete-*
if [ ! -x "$venv/bin/pip" ]; then
    say "making .venv with $("$python" --version)"
    options=
    [ $shared = false ] || options=--system-site-packages
    "$python" -m venv $options "$venv"
fi

say "installing requirements ($requirements): a minute or two, most of it PyTorch"
files=
for name in $requirements; do files="$files -r requirements/$name.txt"; done
quiet=
[ -t 1 ] || quiet=--quiet
"$venv/bin/python" -m pip install --disable-pip-version-check $quiet $files
"$venv/bin/python" requirements/repair_exports.py "$venv"
"$venv/bin/python" -c 'import rclpy, torch, numba' || fail "the environment was made, but does not import what it must"

rm "$venv/incomplete"
touch "$stamp"
say "done"
