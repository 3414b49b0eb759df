"""One blob, however many requests it takes.

    blob      parallel ranges, resume, and one stream where that is all there is
    retries   when a failed request is made again, and how long a pull waits in all

Knows neither HTTP nor files: a conductor passes in who opens a part of a blob, and who writes it.
"""
