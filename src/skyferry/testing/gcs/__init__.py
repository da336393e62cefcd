"""A fake Cloud Storage for tests: the JSON API on aiohttp, in memory, as strict as the service is known to be.

    buckets        insert, get, patch, delete, list; preconditions on their metageneration
    notifications  insert, get, delete, list; no notification is sent
    objects        get, patch, update, delete, list (prefix, delimiter, offsets, pages, versions), copy, rewrite, compose
    uploads        media, multipart/related, resumable (308, `bytes */size`, resent bytes, cancel)
    downloads      ranges, generations, gunzipped unless the client accepts gzip
    always         preconditions on generation and metageneration, CRC32C and MD5, `fields`, a bearer token if one is configured

    python -m skyferry.testing.gcs --port 9000 [--token TOKEN]

`skyferry.testing.servers.gcs_fake` starts it in a separate process. In addition to the API it serves `/_fake/faults` (POST a list
of `Fault`s for the next requests; GET the number that is left), `/_fake/exchanges` (GET the requests so far with the bytes
received of each, also of broken ones; DELETE forgets them) and `/_fake/token` (PUT the token to demand).

It has no access lists (every client has all permissions), HMAC keys, XML API or gRPC. Projects are ignored. Objects under a
bucket's retention policy or default event-based hold are neither deleted nor replaced. Policies cannot be locked, holds cannot be
released. Soft delete and an object's KMS key are stored and returned, without effect.
"""
