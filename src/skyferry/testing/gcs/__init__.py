"""A Cloud Storage of our own for tests: the JSON API on aiohttp, in memory, as strict as the service where we know it.

    buckets        insert, get, patch, delete, list; preconditions on their metageneration
    notifications  insert, get, delete, list; nobody is told of anything
    objects        get, patch, update, delete, list (prefix, delimiter, offsets, pages, versions), copy, rewrite, compose
    uploads        media, multipart/related, resumable (308, `bytes */size`, resent bytes, cancel)
    downloads      ranges, generations, gunzipped unless the client says that it takes gzip
    always         preconditions on generation and metageneration, CRC32C and MD5, `fields`, a bearer token if told one

    python -m skyferry.testing.gcs --port 9000 [--token TOKEN]

`skyferry.testing.servers.gcs_fake` starts it in a process of its own. Beside the API it answers `/_fake/faults` (POST a
list of `Fault`s: what happens to the next requests; GET how many are left), `/_fake/exchanges` (GET the requests so far
with the bytes received of each, also of one that broke; DELETE forgets them) and `/_fake/token` (PUT the token to demand).

It has no access lists (everybody has each permission), HMAC keys, XML API or gRPC. Projects are not told apart. What a retention
policy of the bucket keeps, or its default event-based hold, is neither deleted nor replaced; nothing locks the one or releases the
other. Soft delete, and the key of KMS that an object names, are kept and shown, and do nothing.
"""
