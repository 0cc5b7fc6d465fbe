# SPDX-License-Identifier: MIT
# Sourced by tests/*/aarch64.sh: what they compile for aarch64 is run by an emulator. Sets `root`, of the project, and `folder`, which
# is removed in the end. Skipped where compiler or emulator is missing.
set -euo pipefail

root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is not installed"
        exit 77
    fi
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
