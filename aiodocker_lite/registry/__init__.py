"""Everything that asks over HTTP, and the only importer of aiohttp besides `serve`.

    client        one method for each kind of request of the distribution specification
    wire          one request on its way: connections, redirects, failures in plain words
    answers       what an answer means: statuses, ranges, pauses, messages
    part          a part of a blob as an answer brings it
    auth          challenge in, authorization out; one token request for each scope
    hosts         where a registry is asked, and which addresses may be dialled
    credentials   user names, passwords and tokens, as values
    authfiles     docker's and podman's files that hold them
    credhelpers   programs that keep them
    keyring       which of all these counts; where a login is kept

Nothing here knows what an image is or where its bytes go.
"""
