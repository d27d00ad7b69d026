// make_broken_files DIR: writes every broken model into DIR and prints one line for each: its path, the kind
// of error that it must give, and what the message must mention, separated by tabs.
#include <cstdio>
#include <exception>

#include "broken_files.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_broken_files DIR\n");
    return 2;
  }
  try {
    const auto models = sluice::test::broken_models();
    sluice::test::write_models(argv[1], models);
    for (const auto& model : models) {
      std::printf("%s/%s\t%s", argv[1], model.path.c_str(), sluice::error_kind_name(model.kind));
      for (const std::string& mention : model.mentions) std::printf("\t%s", mention.c_str());
      std::printf("\n");
    }
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "make_broken_files: %s\n", e.what());
    return 1;
  }
}
