#!/usr/bin/env python3
"""Creates and deletes pods one after the other through the API ($KUBECONFIG) and prints, in milliseconds, p50
and p99 of created → Ready and of deleted → gone, as a watch shows them."""
import base64, http.client, json, os, re, ssl, sys, tempfile, time

text = open(os.environ['KUBECONFIG']).read()
folder = tempfile.mkdtemp()
for name in ('client-certificate-data', 'client-key-data', 'certificate-authority-data'):
    with open(os.path.join(folder, name), 'wb') as f:
        f.write(base64.b64decode(re.search(name + r': (\S+)', text).group(1)))
tls = ssl.create_default_context(cafile=folder + '/certificate-authority-data')
tls.load_cert_chain(folder + '/client-certificate-data', folder + '/client-key-data')
host, port = re.search(r'server: https://([^:]+):(\d+)', text).groups()
PODS = '/api/v1/namespaces/default/pods'


def connect():
    return http.client.HTTPSConnection(host, int(port), context=tls)


def ready(event):
    conditions = event['object'].get('status', {}).get('conditions', [])
    return any(c['type'] == 'Ready' and c['status'] == 'True' for c in conditions)


def one(calls, name, image):
    watch = connect()
    watch.request('GET', PODS + '?watch=true&fieldSelector=metadata.name%3D' + name)
    events = watch.getresponse()
    command = ['sh', '-c', 'trap "exit 0" TERM; sleep 3600 & wait']
    pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name},
           'spec': {'containers': [{'name': 'c', 'image': image, 'command': command}]}}
    began = time.monotonic()
    calls.request('POST', PODS, json.dumps(pod), {'Content-Type': 'application/json'})
    calls.getresponse().read()
    for line in events:
        if ready(json.loads(line)):
            break
    up = time.monotonic() - began
    began = time.monotonic()
    calls.request('DELETE', PODS + '/' + name)
    calls.getresponse().read()
    for line in events:
        if json.loads(line)['type'] == 'DELETED':
            break
    return up * 1000, (time.monotonic() - began) * 1000


calls = connect()
times = [one(calls, 'latency-%d' % i, sys.argv[2]) for i in range(int(sys.argv[1]))]
for column in zip(*times):
    ordered = sorted(column)
    print('%.0f %.0f' % (ordered[len(ordered) // 2], ordered[-1 - len(ordered) // 100]))
