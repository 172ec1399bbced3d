#!/usr/bin/env bash
# Quickstart: tag four photos offline with the bundled model. About 20 seconds on two cores.
# Expected: cat.jpg → cat, 0.91, the only sure tag; coffee.jpg → cup and glass among the unsure; typed words are marked.
set -euo pipefail
cd "$(dirname "$0")"

# A table for each photo, best tags first.
ramkit tag photos --model mini

# Any words, seen in training or not.
ramkit tag photos/rocket.jpg --model mini --open-set "rocket, lighthouse, wedding cake"

# For programs: one object a photo.
ramkit tag photos/cat.jpg photos/coffee.jpg --model mini --top-k 3 --json
