#!/bin/sh
# Builds the container image with podman or docker; CONTAINER_ENGINE chooses another program with their options.
# usage: deploy/container/build.sh WHEEL IMAGE [OPTION]...     options of `podman build`, such as --build-arg PYTHON=…
# Where no engine answers, it says so and ends with 0.
set -eu
wheel=$1 image=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)

engine=${CONTAINER_ENGINE:-}
for each in podman docker; do
    if [ -z "$engine" ] && "$each" info >/dev/null 2>&1; then engine=$each; fi
done
if [ -z "$engine" ]; then
    echo "The container image $image was not built: neither podman nor docker is here and answers." >&2
    exit 0
fi

# The engine gets what the Containerfile copies, and nothing else of the checkout.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/requirements" "$context/dist" "$context/deploy"
cp "$root/requirements/server.txt" "$context/requirements"
cp "$root/deploy/trim.sh" "$context/deploy"
cp "$wheel" "$context/dist"
"$engine" build -f "$root/deploy/container/Containerfile" -t "$image" "$@" "$context"
