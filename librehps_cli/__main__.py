from librehps_cli.main import main

main()
