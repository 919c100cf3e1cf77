"""Input that is meant to do harm: for hostile_test.py, and for bench/hostile.py. `manifests` is /v2/<name>/manifests."""
import json

import hansa_testing as ht

MIB = 1024 * 1024


def request(*lines, body=b'', host=True):
    head = [line.encode('latin-1') for line in lines]
    if host:
        head.insert(1, b'Host: localhost')
    return b'\r\n'.join(head) + b'\r\n\r\n' + body


def smuggling(manifests, digest):
    """{what is wrong: a request with another one, a DELETE, behind it}."""
    inner = request(f'DELETE {manifests}/{digest} HTTP/1.1')
    post = f'POST {manifests.removesuffix("manifests")}blobs/uploads/ HTTP/1.1'
    chunked = b'0\r\n\r\n'
    length = f'Content-Length: {len(inner)}'
    corpus = {
        'length and chunked': request(post, 'Content-Length: 5', 'Transfer-Encoding: chunked', body=chunked + inner),
        'chunked and length': request(post, 'Transfer-Encoding: chunked', f'Content-Length: {len(chunked + inner)}',
                                      body=chunked + inner),
        'two lengths': request(post, 'Content-Length: 0', length, body=inner),
        'two equal lengths': request(post, length, length, body=inner),
        'a list of lengths': request(post, f'Content-Length: 0, {len(inner)}', body=inner),
        'two encodings': request(post, 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity',
                                 body=chunked + inner),
        'a list of encodings': request(post, 'Transfer-Encoding: chunked, identity', body=chunked + inner),
        'an unknown encoding': request(post, 'Transfer-Encoding: xchunked', body=chunked + inner),
        'a quoted encoding': request(post, 'Transfer-Encoding: "chunked"', body=chunked + inner),
        'an encoding with a control byte': request(post, 'Transfer-Encoding: \x0bchunked', body=chunked + inner),
        'space before the colon': request(post, 'Transfer-Encoding : chunked', body=chunked + inner),
        'tab before the colon': request(post, 'Content-Length\t: 0', body=inner),
        'a folded line': request(post, 'X-Folded: a', ' Transfer-Encoding: chunked', body=chunked + inner),
        'a folded length': request(post, 'Content-Length:', ' 0', body=inner),
        'bare line feeds': request(post, 'X: y\nTransfer-Encoding: chunked', body=chunked + inner),
        'only line feeds': request(post, 'Content-Length: 0').replace(b'\r\n', b'\n') + inner,
        'a bare carriage return': request(post, 'X: y\rTransfer-Encoding: chunked', body=chunked + inner),
        'a zero byte': request(post, 'X: y\0z', body=inner),
        'a zero byte in a name': request(post, 'Content-\0Length: 0', body=inner),
        'a sign before the length': request(post, 'Content-Length: +0', body=inner),
        'a negative length': request(post, 'Content-Length: -1', body=inner),
        'a hexadecimal length': request(post, 'Content-Length: 0x0', body=inner),
        'a length with a space inside': request(post, 'Content-Length: 0 0', body=inner),
        'a length beyond 64 bits': request(post, 'Content-Length: 18446744073709551616', body=inner),
        'a length of nothing': request(post, 'Content-Length:', body=inner),
        'chunked in HTTP/1.0': request(post.replace('1.1', '1.0'), 'Transfer-Encoding: chunked', body=chunked + inner),
        'a header line without a colon': request(post, 'Transfer-Encoding', body=inner),
        'a header without a name': request(post, ': chunked', body=inner),
        'two hosts': request(post, 'Host: other', body=inner),
        'no host': request(post, body=inner, host=False),
        'two spaces in the request line': request(post.replace(' /', '  /'), body=inner),
        'a request line without a version': request(post.replace(' HTTP/1.1', ''), body=inner),
        'another version': request(post.replace('1.1', '1.2x'), body=inner),
        'a tab in the request line': request(post.replace(' HTTP', '\tHTTP'), body=inner),
        'a preface of HTTP/2': b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + inner,
    }
    put = f'PUT {manifests}/smuggled HTTP/1.1'  # whose body is read
    bodies = {f'chunk size {size!r}': f'{size}\r\n\r\n'.encode()
              for size in ('0x0', '-0', '+0', ' 0', '0 ', '0\t', '0 x', '0;a\nb', 'g', '', '1' + '0' * 16, 'f' * 16)}
    bodies['a chunk without its end'] = b'1\r\nab0\r\n\r\n'
    bodies['chunks with line feeds'] = b'1\na\n0\n\n'
    bodies['a chunk longer than its size'] = b'1\r\naa\r\n0\r\n\r\n'
    bodies['a trailer with a bare line feed'] = b'0\r\nX: y\nZ: 1\r\n\r\n'
    for name, body in bodies.items():
        corpus[name] = request(put, f'Content-Type: {ht.OCI_MANIFEST}', 'Transfer-Encoding: chunked', body=body + inner)
    return corpus


def floods(manifests):
    """{what there is too much of: (a request, the statuses that it may get)}."""
    line = f'GET {manifests}/v1 HTTP/1.1'
    corpus = {
        'many fields': (request(line, *[f'X-{n}: y' for n in range(5000)]), {431}),
        'a field of a mebibyte': (request(line, 'X: ' + 'y' * MIB), {431}),
        'a name of a mebibyte': (request(line, 'X' * MIB + ': y'), {431, 400}),
        'a target of a mebibyte': (request(f'GET /{"a" * MIB} HTTP/1.1'), {414, 431}),
        'a method of a mebibyte': (request('G' * MIB + ' / HTTP/1.1'), {400, 431, 501, 414}),
        'a line that does not end': (b'a' * 8 * MIB, {400, 414, 431}),
        'empty lines without end': (b'\r\n' * MIB, {400, 431}),
        'a long query': (request(f'GET /v2/_catalog?{"a=b&" * 5000} HTTP/1.1'), {400, 414}),
    }
    return corpus


def bombs(digest, image_body):
    """{what is wrong: the text of a manifest}; the digest and bytes are of one that is there."""
    config = ht.descriptor(ht.OCI_CONFIG, b'{}')
    child = {'mediaType': ht.OCI_MANIFEST, 'digest': digest, 'size': len(image_body)}
    image = {'schemaVersion': 2, 'mediaType': ht.OCI_MANIFEST, 'config': config, 'layers': []}
    text = json.dumps(image)
    corpus = {
        'nested a million deep': '[' * 1_000_000,
        'nested objects': '{"a":' * 500_000,
        'nested inside': text[:-1] + ',"x":' + '[' * 100_000 + ']' * 100_000 + '}',
        '10,001 children': json.dumps({'schemaVersion': 2, 'mediaType': ht.OCI_INDEX, 'manifests': [child] * 10_001}),
        'equal keys': text[:-1] + ',"config":{}}',
        'equal keys without end': '{' + '"a":"a",' * 500_000 + '"a":"a"}',
        'image and index': text[:-1] + ',"manifests":[]}',
        'a string of four mebibytes': json.dumps('a' * (4 * MIB - 2)),
        'more than four mebibytes': text[:-1] + ',"annotations":{"a":"' + 'a' * 4 * MIB + '"}}',
        'numbers without end': text[:-1] + ',"x":1' + '0' * 1_000_000 + '}',
        'no JSON': 'nothing' * 1000,
        'nothing': '',
        'half of it': text[:len(text) // 2],
        'a zero byte': text + '\0',
        'a size that is negative': json.dumps({**image, 'layers': [{**config, 'size': -1}]}),
        'a size beyond 64 bits': text.replace('"size": 2', '"size": 99999999999999999999'),
        'a digest that climbs': json.dumps({**image, 'layers': [{**config, 'digest': 'sha256:../../../../canary'}]}),
        'a media type with a line break': json.dumps({**image, 'layers': [{**config, 'mediaType': 'a/b\r\nX: y'}]}),
        'names of the wrong kind': json.dumps({'schemaVersion': '2', 'config': [], 'layers': {}}),
    }
    return corpus
