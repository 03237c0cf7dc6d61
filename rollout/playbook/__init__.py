"""The YAML language: what did the user ask for?"""
