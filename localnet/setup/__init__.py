"""Set-up of a checkout: virtual environment, CometBFT, model files. Standard library only.

It runs with the system's Python before any virtual environment exists, so nothing below this folder imports a
package that `requirements.txt` would have to install first. What is made is cached, resumable and moved into place whole.
"""
