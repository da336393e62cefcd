"""Parse the bytes and attributes of messages into events. `detect` recognises each format by its content. Pure."""
