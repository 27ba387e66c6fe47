"""Transaction kinds, one file each: could it ever be valid, and is it valid now?"""
