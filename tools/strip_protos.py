#!/usr/bin/env python3
"""Copies etcd's .proto files without what only Go needs: gogoproto options and the HTTP gateway's annotations.

strip_protos.py OUT FOLDER...   finds rpc.proto, kv.proto and auth.proto below the first FOLDER that has them
"""
import pathlib
import re
import sys

FILES = {'rpc.proto': 'etcdserverpb', 'kv.proto': 'mvccpb', 'auth.proto': 'authpb'}


def find(folders):
    for folder in map(pathlib.Path, folders):
        found = {name: next(folder.rglob(f'{package}/{name}'), None) for name, package in FILES.items()}
        if all(found.values()):
            return found
    sys.exit(f'strip_protos: etcd\'s protos are in none of {", ".join(map(str, folders))}; '
             'install golang-etcd-server-dev')


def strip(text):
    text = re.sub(r'^import "(gogoproto|google/api|protoc-gen-openapiv2)[^"]*";\n', '', text, flags=re.M)
    text = re.sub(r'^import "etcd/[^"]*/(\w+\.proto)";', r'import "etcd_proto/\1";', text, flags=re.M)
    text = re.sub(r'^option \((gogoproto|grpc)[^;]*;\n', '', text, flags=re.M)
    text = re.sub(r'option \(google\.api\.http\) = \{.*?\};', '', text, flags=re.S)
    return re.sub(r'\s*\[\(gogoproto[^\]]*\]', '', text)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, path in find(sys.argv[2:]).items():
        (out / name).write_text(strip(path.read_text()))


main()
