#!/bin/sh
# With snakemake-storage-plugin-s3, Snakemake deletes the bucket together with its last object. A user
# who removes the results of a run (--delete-all-output) loses the bucket that an administrator has
# made, with its policy, lifecycle rules and access rights, and its name is free for others. The next
# run makes a bucket of that name without these settings, and does not say so.
#
# Versions: Snakemake 9.27.1, snakemake-storage-plugin-s3 0.3.6, boto3 1.43.107, moto 5.2.5 as the
# server, Python 3.11.
# Seen, for a bucket with one object, and for a bucket with the object and one other:
#   before               lab  shared
#   --delete-all-output  shared
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1 snakemake-storage-plugin-s3==0.3.6 \
    boto3==1.43.107 'moto[s3,server]==5.2.5'
cd "$folder"
cat > serve.py <<'PYTHON'
"""Serve S3 on a free port of this machine, which is written to the file `port`."""

import time
from pathlib import Path

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
Path("port.new").write_text(str(server.get_host_and_port()[1]))
Path("port.new").rename("port")
while True:
    time.sleep(60)
PYTHON
cat > buckets.py <<'PYTHON'
"""Print the buckets. With the argument `make`: make them first."""

import os
import sys

import boto3

client = boto3.client("s3", endpoint_url=os.environ["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"])
if sys.argv[1:] == ["make"]:
    client.create_bucket(Bucket="lab")
    client.create_bucket(Bucket="shared")
    client.put_object(Bucket="shared", Key="of-another-user", Body=b"x")
print(*sorted(bucket["Name"] for bucket in client.list_buckets()["Buckets"]))
PYTHON
cat > Snakefile <<'SNAKEMAKE'
rule table:
    output:
        "table.txt",
    shell:
        "echo x > {output}"
SNAKEMAKE

venv/bin/python serve.py > server.log 2>&1 &
server=$!
while [ ! -f port ]; do
    kill -0 "$server" || { cat server.log; exit 1; }
    sleep 0.2
done
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1
SNAKEMAKE_STORAGE_S3_ENDPOINT_URL="http://127.0.0.1:$(cat port)"
export SNAKEMAKE_STORAGE_S3_ENDPOINT_URL
export SNAKEMAKE_STORAGE_S3_ACCESS_KEY=x SNAKEMAKE_STORAGE_S3_SECRET_KEY=x
run() {
    bucket=$1
    shift
    PATH="$folder/venv/bin:$PATH" snakemake --cores 1 --default-storage-provider s3 \
        --default-storage-prefix "s3://$bucket" "$@" > run.log 2>&1 || { cat run.log; exit 1; }
}
echo "snakemake $(venv/bin/snakemake --version)"
before=$(venv/bin/python buckets.py make)
run lab
run shared
run lab --delete-all-output
run shared --delete-all-output
after=$(venv/bin/python buckets.py)
echo "before               $before"
echo "--delete-all-output  $after"
[ "$before" = 'lab shared' ] && [ "$after" = 'shared' ]
