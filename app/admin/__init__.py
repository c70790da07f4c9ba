"""The pages for people: server-rendered, on the same services as the API. No rule of the platform is written here.

A page parses what was typed, calls a service, renders. Everything works without JavaScript; our own small script only
adds what a page cannot do by itself (live figures, sliders that sum to 100%).
"""
