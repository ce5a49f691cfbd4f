"""How near HDR frames are to the truth (docs/hdr.md says what each number means)."""
