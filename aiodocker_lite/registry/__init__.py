"""Everything that asks over HTTP, and the only importer of aiohttp besides `serve`.

    source           what a conductor needs of whoever has images
    client           one method for each kind of request of the distribution specification
    failover         one question, several places that may answer it: mirrors, then the registry
    hosts            from an image name to these places; read from
      registries_conf, hosts_toml, daemon_json    podman's, containerd's and docker's files
      trust          certificates and authorities, also docker's certs.d
    wire             one request on its way: redirects, and whose secrets go along
    connections      where they may go, through which of the
      proxies        that the environment names
      lookup         names to addresses, which nobody waits for who has given up
    failures         why there is no answer, in plain words
    answers          what an answer means: statuses, ranges, pauses, messages
    documents, part  manifests and parts of blobs, as answers bring them
    foreign          layers that registries may not distribute, from elsewhere
    encoding         what caches compress, undone
    auth             challenge in, authorization out; one token request for each scope
    credentials      user names, passwords and tokens, as values
      authfiles      docker's and podman's files that hold them
      credhelpers    programs that keep them
      keyring        which of all these counts; where a login is kept
    addresses        which hosts are this machine, and which the internet

Nothing here knows what an image is or where its bytes go.
"""
