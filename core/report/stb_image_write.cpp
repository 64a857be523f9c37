// The one place where stb_image_write, a library of one header, becomes code (https://github.com/nothings/stb).
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO  // files are written by core/file.h alone
#include <stb_image_write.h>
