#!/usr/bin/env python3
"""Sends a file with the official library: standard_webhooks.py URL SECRET ID FILE [OTHER].

Prints the status of the answer. With OTHER the signature is of FILE and what is sent is OTHER.
"""
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from standardwebhooks import Webhook

url, secret, message_id, signed_path = sys.argv[1:5]
signed = open(signed_path, encoding="utf-8").read()
sent = open(sys.argv[-1], encoding="utf-8").read()
now = datetime.now(timezone.utc)
headers = {
    "Content-Type": "application/json",
    "webhook-id": message_id,
    "webhook-timestamp": str(int(now.timestamp())),
    "webhook-signature": Webhook(secret).sign(message_id, now, signed),
}
request = urllib.request.Request(url, sent.encode(), headers, method="POST")
# Whatever proxy the environment names is not for a node on this machine.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    print(opener.open(request, timeout=10).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
