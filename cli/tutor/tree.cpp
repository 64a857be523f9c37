#include "cli/tutor/tree.h"

#include "cli/tutor/lesson_text.h"
#include "cli/tutor/progress.h"
#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

void require_new(const fs::path& folder) {
  if (fs::exists(folder) && (!fs::is_directory(folder) || !fs::is_empty(folder)))
    fail("tutor: ", folder.string(), " exists and is not empty; choose a new folder");
}

void copy_whole(const fs::path& from, const fs::path& to) { write_file(to, read_file(from)); }

// What both trees share: everything but the gaps, the texts and the hidden tests. Without the marks of the regions that
// texts quote.
void copy_lesson(const fs::path& from, const fs::path& to) {
  for (const char* name : {"lesson.h", "main.cpp", "test.cpp"})
    write_file(to / name, in_form(read_file(from / name), 0, Form::student, name));
  for (const fs::directory_entry& entry : fs::directory_iterator(from))
    if (entry.path().extension() == ".png") copy_whole(entry.path(), to / entry.path().filename());
}

void copy_frame(const fs::path& folder) {
  const fs::path source = course_source();
  copy_whole(source / "support" / "student.cmake", folder / "CMakeLists.txt");
  copy_whole(source / "README.md", folder / "README.md");
  write_file(folder / ".gitignore", "build/\ntranslator/\n");
}

}  // namespace

void write_student_tree(const fs::path& folder, const std::vector<Lesson>& lessons) {
  require_new(folder);
  for (const Lesson& lesson : lessons) {
    const fs::path from = course_source() / lesson.folder, to = folder / lesson.folder;
    copy_lesson(from, to);
    write_file(to / "README.md", lesson_text(from, lesson.number, Reader::student));
    for (const fs::path& file : gap_files(from))
      write_file(to / file.filename(), in_form(read_file(file), lesson.number, Form::student, file.string()));
  }
  copy_frame(folder);
  Progress().save(folder);  // last: what has it is whole
}

void write_instructor_tree(const fs::path& folder, const std::vector<Lesson>& lessons) {
  require_new(folder);
  for (const Lesson& lesson : lessons) {
    const fs::path from = course_source() / lesson.folder, to = folder / lesson.folder;
    copy_lesson(from, to);
    for (const char* name : {"README.md", "text.md", "expected.txt", "hidden.cpp"}) copy_whole(from / name, to / name);
    for (const fs::path& file : gap_files(from)) copy_whole(file, to / file.filename());
  }
  copy_frame(folder);
}

}  // namespace headshare::cli
